#include "verify/list_check.h"

#include <algorithm>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <optional>
#include <set>
#include <string_view>

#include <arkit/engine/open_source.h>
#include <arkit/error.h>
#include <arkit/json.h>
#include <arkit/model_adapter.h>
#include <arkit/regex.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/sdk/layer_rules.h>
#include <arkit/sdk/tied_embeddings.h>
#include <arkit/str.h>

namespace arkit {
namespace {

constexpr std::string_view kWeight = ".weight";
constexpr const char* kWhat = "quantization_config";

// What a loader does with a linear layer: true = expects packed tensors.
using Expects = std::function<bool(const std::string& layer)>;

bool contains_any(std::string_view name, std::initializer_list<std::string_view> parts) {
  return std::any_of(parts.begin(), parts.end(),
                     [&](std::string_view part) { return name.find(part) != std::string_view::npos; });
}

// Matrices that no linear layer is: tables, convolutions, norms and positions.
bool is_linear(const TensorInfo& tensor) {
  return model_free::is_linear_weight(tensor) && !contains_any(tensor.name, {"norm", "rotary"});
}

std::vector<std::string> texts(const json::Object& config, std::string_view key) {
  std::vector<std::string> out;
  const json::Value* list = json::find(config, key);
  if (list == nullptr || !list->is_array()) return out;
  for (const json::Value& entry : list->get_array())
    if (entry.is_string()) out.emplace_back(entry.get_string());
  return out;
}

// Patterns of files; a damaged one matches nothing, and its layers are then reported.
class Pattern {
 public:
  explicit Pattern(const std::string& regex) {
    try {
      regex_ = std::make_shared<Regex>(regex, kWhat);
    } catch (const Error&) {
      regex_ = nullptr;
    }
  }
  bool operator()(const std::string& name) const { return regex_ && regex_->search(name); }

 private:
  std::shared_ptr<Regex> regex_;
};

// compressed-tensors: names, "re:" patterns from the start of a name, and classes, of which "Linear" is the one that
// matters here.
class NamesOrPatterns {
 public:
  explicit NamesOrPatterns(const std::vector<std::string>& entries) {
    constexpr std::string_view kPattern = "re:";
    for (const std::string& entry : entries) {
      if (entry.starts_with(kPattern))
        patterns_.emplace_back("^(?:" + entry.substr(kPattern.size()) + ")");
      else
        names_.insert(entry);
    }
  }
  bool operator()(const std::string& layer) const {
    return names_.contains(layer) || names_.contains("Linear") ||
           std::any_of(patterns_.begin(), patterns_.end(), [&](const Pattern& pattern) { return pattern(layer); });
  }

 private:
  std::set<std::string, std::less<>> names_;
  std::vector<Pattern> patterns_;
};

Expects compressed_tensors(const json::Object& config) {
  std::vector<std::string> targets;
  if (const json::Value* groups = json::find(config, "config_groups"); groups != nullptr && groups->is_object())
    for (const auto& group : groups->get_object())
      if (group.value().is_object())
        for (std::string& target : texts(group.value().get_object(), "targets")) targets.push_back(std::move(target));
  return [taken = NamesOrPatterns(targets), ignored = NamesOrPatterns(texts(config, "ignore"))](
             const std::string& layer) { return taken(layer) && !ignored(layer); };
}

// Every layer of which no name in the list is a part, or a pattern from its start.
Expects all_but(const std::vector<std::string>& left_out) {
  std::vector<Pattern> patterns;
  for (const std::string& name : left_out) patterns.emplace_back("^(?:" + name + ")");
  return [left_out, patterns](const std::string& layer) {
    const bool named = std::any_of(left_out.begin(), left_out.end(),
                                   [&](const std::string& name) { return layer.find(name) != std::string::npos; });
    return !named && std::none_of(patterns.begin(), patterns.end(), [&](const Pattern& p) { return p(layer); });
  };
}

// Rules of "dynamic" in their order: "-:" leaves out, the first that matches counts. The head has a word of its own.
Expects by_rules(const json::Object& config, const std::string& head_name) {
  struct Rule {
    bool leaves_out;
    Pattern pattern;
  };
  std::vector<Rule> rules;
  if (const json::Value* dynamic = json::find(config, "dynamic"); dynamic != nullptr && dynamic->is_object())
    for (const auto& member : dynamic->get_object()) {
      const std::string key(member.key());
      const bool marked = key.starts_with("-:") || key.starts_with("+:");
      rules.push_back({key.starts_with("-:"), Pattern(marked ? key.substr(2) : key)});
    }
  const bool head = json::get_bool(config, "lm_head", kWhat).value_or(false);
  return [rules, head, head_name](const std::string& layer) {
    const auto found = std::find_if(rules.begin(), rules.end(), [&](const Rule& rule) { return rule.pattern(layer); });
    if (found != rules.end()) return !found->leaves_out;
    return layer != head_name || head;
  };
}

bool leaves_full_size(const json::Value& scheme) {
  const json::Object* fields = scheme.if_object();
  if (fields == nullptr) return false;
  const auto bits = json::get_int(*fields, "bits", kWhat);
  return bits && *bits >= 16;
}

// AutoRound: the blocks it names, and single layers by name or pattern.
Expects named_blocks(const json::Object& config) {
  std::vector<std::string> blocks = texts(config, "block_name_to_quantize");
  if (const json::Value* text = json::find(config, "block_name_to_quantize"); text != nullptr && text->is_string())
    blocks = split(text->get_string(), ',');
  struct Exception {
    std::string name;
    Pattern pattern;
    bool full_size;
  };
  std::vector<Exception> exceptions;
  if (const json::Value* extra = json::find(config, "extra_config"); extra != nullptr && extra->is_object())
    for (const auto& member : extra->get_object()) {
      const std::string key(member.key());
      exceptions.push_back({key, Pattern(key), leaves_full_size(member.value())});
    }
  const bool nothing = json::get_int(config, "bits", kWhat).value_or(0) >= 16;
  return [blocks, exceptions, nothing](const std::string& layer) {
    for (const Exception& exception : exceptions)
      if (exception.name == layer) return !exception.full_size;
    for (const Exception& exception : exceptions)
      if (exception.pattern(layer)) return !exception.full_size;
    return !nothing && std::any_of(blocks.begin(), blocks.end(), [&](const std::string& block) {
      return !block.empty() && layer.starts_with(block + ".");
    });
  };
}

// `head` is the name of the head, `plain_head`: it is stored in full size.
std::optional<Expects> expectation(const json::Object& config, const std::string& head, bool plain_head) {
  const json::Value* found = json::find(config, kWhat);
  const json::Object* fields = found == nullptr ? nullptr : found->if_object();
  if (fields == nullptr) return std::nullopt;
  const std::string method = json::get_string(*fields, "quant_method", kWhat).value_or("");
  if (method == "compressed-tensors") return compressed_tensors(*fields);
  if (method == "gptq") return by_rules(*fields, head);
  if (method == "awq") {
    constexpr std::string_view kList = "modules_to_not_convert";
    std::vector<std::string> left_out = texts(*fields, kList);
    // AutoAWQ writes null, and loaders leave the head alone by themselves.
    if (const json::Value* list = fields->if_contains(kList); plain_head && list != nullptr && list->is_null())
      left_out.push_back(head);
    return all_but(left_out);
  }
  if (method == "auto-round" && json::get_string(*fields, "packing_format", kWhat) != "auto_round:fake")
    return named_blocks(*fields);
  if (method == "fp8") {
    std::vector<std::string> left_out = texts(*fields, "ignored_layers");
    for (std::string& name : texts(*fields, "modules_to_not_convert")) left_out.push_back(std::move(name));
    if (!head.empty()) left_out.push_back(head);  // loaders leave it alone by themselves
    return all_but(left_out);
  }
  return std::nullopt;
}

}  // namespace

std::vector<std::string> full_size_layers(const ModelSource& exported, const Registry& registry) {
  std::set<std::string> packed, found;
  for (const LinearSpec& layer : sdk::packed_layers(exported)) packed.insert(layer.name);
  for (const TensorInfo& tensor : exported.weights().tensors())
    if (is_linear(tensor)) found.insert(tensor.name.substr(0, tensor.name.size() - kWeight.size()));
  try {
    for (const LayerPlan& layer : adapter_for(exported, registry).layout(exported).linears())
      if (exported.weights().find(layer.name + std::string(kWeight)) != nullptr) found.insert(layer.name);
  } catch (const Error& error) {  // no family, or one that cannot open it: the names are all there is
    if (error.code() == ErrorCode::interrupted) throw;
  }
  std::vector<std::string> layers;
  std::set_difference(found.begin(), found.end(), packed.begin(), packed.end(), std::back_inserter(layers));
  return layers;
}

CheckResult check_layer_lists(const ModelSource& exported, const Registry& registry) {
  constexpr const char* kName = "layers as the configuration lists them";
  Check check(kName);
  const std::vector<std::string> plain = full_size_layers(exported, registry);
  const std::string head = stored_head(exported);
  const bool plain_head = !head.empty() && std::find(plain.begin(), plain.end(), head) != plain.end();
  const std::optional<Expects> expects = expectation(exported.config(), head, plain_head);
  if (!expects) return {.name = kName, .skipped = true, .detail = "lists are not part of this configuration"};
  for (const std::string& layer : plain)
    if ((*expects)(layer))
      check.fail(str("'", printable(layer), "' is stored in full size, and the configuration does not leave it out"));
  for (const LinearSpec& layer : sdk::packed_layers(exported))
    if (!(*expects)(layer.name))
      check.fail(str("'", printable(layer.name), "' is packed, and the configuration leaves it out"));
  return check.result(str(sdk::packed_layers(exported).size(), " packed, ", plain.size(), " left out"));
}

}  // namespace arkit
