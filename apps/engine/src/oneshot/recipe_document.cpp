#include "oneshot/recipe_document.h"

#include <algorithm>
#include <utility>

#include <arkit/error.h>
#include <arkit/file_start.h>
#include <arkit/input_file.h>
#include <arkit/str.h>

#include "util/yaml_reader.h"

namespace arkit::oneshot {
namespace {

constexpr int64_t kMaxFile = int64_t{1} << 20;
constexpr std::string_view kStage = "_stage", kGroup = "_modifiers", kType = "Modifier";
constexpr std::string_view kDefaultStage = "default_stage", kDefaultGroup = "default_modifiers";

bool is_group_key(std::string_view key) {
  return key.ends_with(kGroup) || key == "modifiers";
}

class Reader {
 public:
  explicit Reader(RecipeDocument& document) : document_(document) {}

  void root(const json::Value& value) {
    if (value.is_array()) {
      warn("a list of modifiers without stage and group; llm-compressor refuses it");
      list(value.get_array(), kDefaultStage, kDefaultGroup);
      return;
    }
    if (!value.is_object())
      throw_input(str(document_.where, ": is ", printable(json::dump(value)),
                      ", expected a mapping of stages ('default_stage:')"));
    for (const auto& member : value.get_object()) {
      const std::string_view key = member.key();
      if (key.ends_with(kStage)) {
        stage(member.value(), key);
      } else if (is_group_key(key)) {
        warn(str("'", printable(key), "' outside a stage; llm-compressor ignores it"));
        group(member.value(), kDefaultStage, key);
      } else if (key.ends_with(kType)) {
        warn(str("'", printable(key), "' outside a stage and a group; llm-compressor ignores it"));
        add(kDefaultStage, kDefaultGroup, key, member.value());
      } else if (key == "args") {
        if (!member.value().is_object() || !member.value().get_object().empty())
          warn("'args' is kept out: neither llm-compressor nor arkit replaces $names by it");
      } else {
        warn(str("'", printable(key), "' is no stage (a key that ends in '_stage') and is ignored"));
      }
    }
  }

 private:
  void warn(std::string_view what) { document_.warnings.push_back(str(document_.where, ": ", what)); }

  void stage(const json::Value& value, std::string_view name) {
    const std::string where = str(document_.where, ": ", printable(name));
    for (const auto& member : json::as_object(value, where)) {
      const std::string_view key = member.key();
      if (is_group_key(key)) {
        if (key == "modifiers") warn(str("'modifiers' in ", printable(name), "; llm-compressor ignores it"));
        group(member.value(), name, key);
      } else if (key.ends_with(kType)) {
        warn(str("'", printable(key), "' in ", printable(name), " without a group; llm-compressor ignores it"));
        add(name, kDefaultGroup, key, member.value());
      } else {
        warn(str("'", printable(key), "' in ", printable(name),
                 " is no group (a key that ends in '_modifiers') and is "
                 "ignored"));
      }
    }
  }

  void group(const json::Value& value, std::string_view stage, std::string_view name) {
    const std::string_view kept = name == "modifiers" ? kDefaultGroup : name;
    if (value.is_array()) {
      warn(str("a list in '", printable(name), "'; llm-compressor ignores it"));
      list(value.get_array(), stage, kept);
      return;
    }
    for (const auto& member : json::as_object(value, str(document_.where, ": ", printable(name))))
      add(stage, kept, member.key(), member.value());
  }

  void list(const json::Array& modifiers, std::string_view stage, std::string_view group) {
    for (const json::Value& entry : modifiers)
      for (const auto& member : json::as_object(entry, document_.where + ": an entry of a list of modifiers"))
        add(stage, group, member.key(), member.value());
  }

  void add(std::string_view stage, std::string_view group, std::string_view type, const json::Value& body) {
    RawModifier modifier{std::string(stage), std::string(group), std::string(type), {}};
    if (!body.is_null()) modifier.fields = json::as_object(body, str(document_.where, ": ", printable(type)));
    document_.modifiers.push_back(std::move(modifier));
  }

  RecipeDocument& document_;
};

}  // namespace

RecipeDocument read_document(const json::Value& root, const std::string& where) {
  RecipeDocument document{.where = where, .modifiers = {}, .warnings = {}};
  Reader(document).root(root);
  if (document.modifiers.empty())
    throw_input(str(where,
                    ": holds no modifier; expected default_stage: default_modifiers: QuantizationModifier or "
                    "AutoRoundModifier"));
  return document;
}

json::Value parse_recipe_text(std::string_view text, const std::string& name, const std::string& where) {
  const std::string ending = lower(std::filesystem::path(name).extension().string());
  if (ending == ".json") return json::parse(text, where);
  text = without_byte_order_mark(text);
  if (ending != ".md") return parse_yaml(text, where);
  const auto recipe = front_matter(text);
  if (!recipe) throw_input(str(where, ": has no recipe between two lines of ---"));
  return parse_yaml(*recipe, where);
}

json::Value load_recipe_file(const std::filesystem::path& path) {
  const std::string where = str("'", printable(path.string()), "'");
  const std::string text = read_input_file(path, kMaxFile, "recipe ");
  return parse_recipe_text(text, path.filename().string(), "recipe " + where);
}

}  // namespace arkit::oneshot
