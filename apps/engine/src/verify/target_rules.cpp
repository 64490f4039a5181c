#include "verify/target_rules.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <arkit/error.h>
#include <arkit/str.h>

#include "util/data_file.h"
#include "verify/rope_meaning.h"

namespace arkit {
namespace fs = std::filesystem;

namespace {

std::vector<std::string> texts(const json::Object& object, std::string_view key, const std::string& what) {
  std::vector<std::string> out;
  const json::Value* value = json::find(object, key);
  if (value == nullptr) return out;
  for (const json::Value& entry : json::as_array(*value, str(what, ": '", key, "'"))) {
    if (!entry.is_string()) throw_input(str(what, ": '", key, "' holds ", json::dump(entry), "; expected texts"));
    out.emplace_back(entry.get_string());
  }
  return out;
}

json::Object table(const json::Object& object, std::string_view key, const std::string& what) {
  const json::Value* value = json::find(object, key);
  return value == nullptr ? json::Object() : json::as_object(*value, str(what, ": '", key, "'"));
}

TargetRules::Model read_model(const json::Object& object, const std::string& what) {
  TargetRules::Model model{.types = texts(object, "types", what),
                           .needs = texts(object, "needs", what),
                           .unread = texts(object, "unread", what),
                           .unread_without = {},
                           .defaults = table(object, "defaults", what),
                           .rope_defaults = table(object, "rope_defaults", what),
                           .yarn_by_mscale = json::get_bool(object, "yarn_by_mscale", what).value_or(false),
                           .only_long_factor = json::get_bool(object, "only_long_factor", what).value_or(false)};
  if (model.types.empty()) throw_input(str(what, ": a [[model]] without 'types'; expected model_type values"));
  const json::Object without = table(object, "unread_without", what);
  for (const auto& member : without)
    model.unread_without[std::string(member.key())] = texts(without, member.key(), what);
  return model;
}

std::string whole_file(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(in), {}};
  if (!in) throw_input(str("'", file.string(), "': cannot be read"));
  return text;
}

std::vector<TargetRules> read_installed() {
  const fs::path folder = shared_data_folder("targets");
  std::error_code failed;
  if (!fs::is_directory(folder, failed))
    throw_input(
        str("'", folder.string(), "': is missing; it says how other programs read an export, install arkit again"));
  std::vector<TargetRules> all;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder))
    if (entry.path().extension() == ".toml")
      all.push_back(parse_target(whole_file(entry.path()), str("'", entry.path().string(), "'")));
  return all;
}

// "rope_scaling.factor" names a member of a member.
void forget(json::Object& config, std::string_view path) {
  const size_t dot = path.find('.');
  json::Value* member = config.if_contains(path.substr(0, dot));
  if (member == nullptr) return;
  if (dot == std::string_view::npos)
    *member = nullptr;  // not erased: an absent key would mean the default of transformers
  else if (json::Object* inner = member->if_object())
    inner->erase(path.substr(dot + 1));
}

void fill(json::Object& object, const json::Object& defaults) {
  for (const auto& member : defaults)
    if (json::find(object, member.key()) == nullptr) object[member.key()] = member.value();
}

void fill_by_type(json::Object& rope, const std::string& type, const json::Object& by_type) {
  if (const json::Value* defaults = json::find(by_type, type)) fill(rope, json::as_object(*defaults, "rope_defaults"));
}

// What its classes compute, in transformers' words.
void translate_rope(json::Object& rope, const std::string& type, const TargetRules::Model& model) {
  if (model.yarn_by_mscale && type == "yarn") {
    const auto number = [&](const char* key) { return json::get_double(rope, key, "config.json").value_or(0.0); };
    const double factor = number("factor");
    rope["attention_factor"] = yarn_mscale(factor, number("mscale")) / yarn_mscale(factor, number("mscale_all_dim"));
  }
  if (model.only_long_factor && type == "longrope") {
    if (const json::Value* many = json::find(rope, "long_factor")) rope["short_factor"] = json::Value(*many);
    for (const char* unread : {"factor", "attention_factor"}) rope.erase(unread);
  }
}

void read_rope(json::Object& config, const TargetRules::Model& model) {
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    json::Value* found = config.if_contains(key);
    if (found == nullptr || !found->is_object()) continue;
    json::Object& rope = found->get_object();
    std::string type = json::get_string(rope, "type", "config.json").value_or("");
    if (type.empty()) type = json::get_string(rope, "rope_type", "config.json").value_or("default");
    fill_by_type(rope, type, model.rope_defaults);
    translate_rope(rope, type, model);
  }
}

}  // namespace

TargetRules parse_target(std::string_view text, const std::string& what) {
  const json::Object object = parse_toml(text, what);
  TargetRules rules{.name = json::get_string(object, "name", what).value_or(""),
                    .title = json::get_string(object, "title", what).value_or(""),
                    .checked = json::get_string(object, "checked", what).value_or(""),
                    .kinds = texts(object, "kinds", what),
                    .drops_tied_head = json::get_bool(object, "drops_tied_head", what).value_or(false),
                    .models = {}};
  if (rules.name.empty() || rules.title.empty() || rules.kinds.empty())
    throw_input(str(what, ": 'name', 'title' or 'kinds' is missing"));
  if (const json::Value* models = json::find(object, "model"))
    for (const json::Value& model : json::as_array(*models, what))
      rules.models.push_back(read_model(json::as_object(model, what), what));
  return rules;
}

const TargetRules* target_of(std::string_view kind) {
  static const std::vector<TargetRules> all = read_installed();
  const auto found = std::find_if(all.begin(), all.end(), [&](const TargetRules& rules) {
    return std::find(rules.kinds.begin(), rules.kinds.end(), kind) != rules.kinds.end();
  });
  return found == all.end() ? nullptr : &*found;
}

json::Object config_as_read(const json::Object& config, const TargetRules& target) {
  json::Object read = config;
  const std::string type = json::get_string(config, "model_type", "config.json").value_or("");
  for (const TargetRules::Model& model : target.models) {
    if (std::find(model.types.begin(), model.types.end(), type) == model.types.end()) continue;
    for (const std::string& key : model.needs)
      if (json::find(config, key) == nullptr)
        throw_unsupported(
            str("config.json has no '", key, "', without which ", target.title, " does not load a '", type, "' model"));
    for (const std::string& path : model.unread) forget(read, path);
    for (const auto& [key, paths] : model.unread_without)
      if (json::find(config, key) == nullptr)
        for (const std::string& path : paths) read[path] = nullptr;
    fill(read, model.defaults);
    read_rope(read, model);
  }
  return read;
}

}  // namespace arkit
