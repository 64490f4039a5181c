#include "config_groups.h"

#include <algorithm>
#include <optional>
#include <unordered_set>

#include <arkit/error.h>
#include <arkit/sdk/linear_layers.h>
#include <arkit/sdk/quant_config.h>
#include <arkit/str.h>

#include "quantization_args.h"

namespace arkit::llm_compressor {
namespace {

constexpr std::string_view kLinear = "Linear", kEmbedding = "Embedding";
constexpr std::string_view kRoutedExperts = "RoutedExperts";
constexpr std::string_view kPattern = "re:";
constexpr const char* kMixed = "mixed-precision";

// Layers that share one set of arguments.
struct Group {
  Layout layout = Layout::pack_quantized;
  LayerQuant quant;
  std::vector<std::string> layers;
  bool is_default = false;  // the scheme of the plan
  bool has_tables = false;
};

std::vector<Group> groups_of(const QuantPlan& plan) {
  std::vector<Group> groups;
  for (const LayerPlan& layer : plan.layers) {
    if (!layer.quantized()) continue;
    const LayerQuant quant = normalised(layer);
    const Layout layout = layout_of(quant).value();
    const auto same = [&](const Group& group) {
      if (group.quant == quant) return true;  // before anything is built, for every layer
      return weight_args(group.quant, group.layout) == weight_args(quant, layout) &&
             activation_args(group.quant, group.layout) == activation_args(quant, layout) && group.layout == layout;
    };
    auto found = std::find_if(groups.begin(), groups.end(), same);
    if (found == groups.end()) found = groups.insert(groups.end(), {.layout = layout, .quant = quant, .layers = {}});
    found->layers.push_back(layer.name);
    found->has_tables = found->has_tables || layer.kind == LayerKind::embedding;
    found->is_default = found->is_default || layer.quant == plan.global;
  }
  return groups;
}

// The older of the reference's two writers, for integers and for floats without a micro scale: it names each group's
// format, lists layers by name only, and does not say who wrote the file. Blocks of fp8 are its, static fp8 is not.
bool plain_writer(const Group& group) {
  if (group.layout == Layout::float_quantized) return group.quant.weight.block_rows > 0;
  return group.layout == Layout::pack_quantized || group.layout == Layout::int_quantized ||
         group.layout == Layout::naive_quantized;
}

// Layers loaders must leave alone: all linear layers of the model that are not quantized, whoever knows them. Patterns
// of the user come first where they hit 16-bit layers only.
class IgnoreList {
 public:
  void add(const std::string& name) {
    if (seen_.insert(name).second) list_.emplace_back(name);
  }
  [[nodiscard]] json::Array take() { return std::move(list_); }

 private:
  json::Array list_;
  std::unordered_set<std::string> seen_;
};

IgnoreList ignore_of(const QuantPlan& plan, const WeightSource& weights, bool with_patterns) {
  IgnoreList ignore;
  if (with_patterns) {
    for (const PatternRule* rule : sdk::pattern_rules(plan)) {
      if (rule->quant.quantized()) continue;
      const Regex regex(rule->regex, "layer pattern");
      const bool hits_quantized = std::any_of(plan.layers.begin(), plan.layers.end(), [&](const LayerPlan& layer) {
        return layer.quantized() && regex.search(layer.name);
      });
      if (!hits_quantized) ignore.add(str(kPattern, rule->regex));
    }
  }
  bool any_head = false;
  for (const LayerPlan& layer : plan.layers) {
    any_head = any_head || layer.block < 0;
    if (!layer.quantized()) ignore.add(layer.name);
  }
  if (!any_head) ignore.add("lm_head");
  for (const std::string& name : unplanned_linears(plan, weights)) ignore.add(name);
  return ignore;
}

// Names of tables of embeddings, which are no linear layers whatever their shape.
std::vector<std::string> embeddings(const WeightSource& weights) {
  constexpr std::string_view kWeight = ".weight";
  std::vector<std::string> names;
  for (const TensorInfo& tensor : weights.tensors())
    if (tensor.shape.size() == 2 && tensor.name.ends_with(kWeight) && tensor.name.find("embed") != std::string::npos)
      names.push_back(tensor.name.substr(0, tensor.name.size() - kWeight.size()));
  return names;
}

bool has_experts_of_other_names(const QuantPlan& plan) {
  return std::any_of(plan.layers.begin(), plan.layers.end(), [](const LayerPlan& layer) {
    const std::string_view projection = std::string_view(layer.name).substr(layer.name.rfind('.') + 1);
    return layer.kind == LayerKind::expert && layer.quantized() && projection != "gate_proj" &&
           projection != "up_proj" && projection != "down_proj";
  });
}

json::Array sorted_names(std::vector<std::string> names) {
  std::sort(names.begin(), names.end());
  return json::Array(names.begin(), names.end());
}

json::Object group_config(const Group& group, json::Array targets, bool name_format) {
  json::Object config;
  config["targets"] = std::move(targets);
  config["weights"] = weight_args(group.quant, group.layout);
  config["input_activations"] = activation_args(group.quant, group.layout);
  config["output_activations"] = nullptr;
  if (group.layout != Layout::nvfp4_e5m3)
    config["format"] = name_format ? json::Value(layout_name(group.layout)) : json::Value(nullptr);
  return config;
}

}  // namespace

json::Object quantization_config(const QuantPlan& plan, const ModelFacts& model) {
  std::vector<Group> groups = groups_of(plan);
  ARKIT_CHECK(!groups.empty(), "an export without quantized layers has no quantization_config");
  const bool plain = std::all_of(groups.begin(), groups.end(), plain_writer);
  const bool one_format = std::all_of(groups.begin(), groups.end(),
                                      [&](const Group& group) { return group.layout == groups.front().layout; });
  // Integers name every layer as soon as there are two groups; otherwise overrides come by name, and the plan's own
  // scheme takes what is left.
  const bool all_by_name = plain && groups.size() > 1;
  const auto overrides_end = std::stable_partition(
      groups.begin(), groups.end(), [&](const Group& group) { return all_by_name || !group.is_default; });
  const bool model_free = model.model_free;
  if (model_free)
    std::stable_sort(groups.begin(), overrides_end,
                     [](const Group& a, const Group& b) { return a.quant.weight.bits > b.quant.weight.bits; });
  json::Object config_groups;
  for (size_t i = 0; i < groups.size(); ++i) {
    const Group& group = groups[i];
    json::Array targets;
    if (all_by_name)
      targets = sorted_names(group.layers);
    else if (group.is_default) {
      targets.emplace_back(kLinear);
      if (group.has_tables) targets.emplace_back(kEmbedding);
      if (model_free && has_experts_of_other_names(plan)) targets.emplace_back(kRoutedExperts);
    } else
      targets = json::Array(group.layers.begin(), group.layers.end());
    config_groups[str("group_", i)] = group_config(group, std::move(targets), plain || groups.size() > 1);
  }
  json::Object config;
  config["config_groups"] = std::move(config_groups);
  config["quant_method"] = "compressed-tensors";
  config["kv_cache_scheme"] = attention_args(plan.attention.kv, plan.attention.kv_per_head);
  if (plan.attention.query.quantized())
    config["attention_input_activations"] =
        json::Object{{"targets", json::Array{model.attention_class}},
                     {"input_activations", attention_args(plan.attention.query, plan.attention.query_per_head)}};
  config["format"] = one_format ? layout_name(groups.front().layout) : kMixed;
  config["quantization_status"] = "compressed";
  config["global_compression_ratio"] = nullptr;
  const bool micro = std::any_of(groups.begin(), groups.end(), [](const Group& group) {
    return !plain_writer(group) && group.layout != Layout::float_quantized;
  });
  IgnoreList ignore = ignore_of(plan, model.weights, micro);
  if (model_free)
    for (const std::string& name : embeddings(model.weights)) ignore.add(name);
  config["ignore"] = ignore.take();
  if (groups.front().layout != Layout::nvfp4_e5m3) config["moe_sparsity_config"] = nullptr;
  if (!plain) config["provider"] = "auto-round";
  return config;
}

AttentionQuant read_attention(const json::Object& config) {
  AttentionQuant quant;
  if (const json::Value* kv = json::find(config, "kv_cache_scheme"); kv != nullptr && !kv->is_null())
    read_attention_args(json::as_object(*kv, "kv_cache_scheme"), quant.kv, quant.kv_per_head, "kv_cache_scheme");
  const json::Value* attention = json::find(config, "attention_input_activations");
  if (attention == nullptr || attention->is_null()) return quant;
  const std::string what = "attention_input_activations";
  const json::Value* inputs = json::find(json::as_object(*attention, what), "input_activations");
  if (inputs == nullptr) throw_input(str(what, ": has no input_activations"));
  read_attention_args(json::as_object(*inputs, what), quant.query, quant.query_per_head, what);
  return quant;
}

ConfigGroups::ConfigGroups(const json::Object& config) {
  const std::string what = "quantization_config";
  const std::string format = json::get_string(config, "format", what).value_or(kMixed);
  const json::Value* groups = json::find(config, "config_groups");
  if (groups == nullptr) throw_input("quantization_config: has no config_groups");
  for (const auto& member : json::as_object(*groups, "'config_groups' of quantization_config")) {
    const std::string where = str("config group '", printable(member.key()), "'");
    const json::Object& group = json::as_object(member.value(), where);
    groups_.push_back(read_group(group, format, where));
    read_targets(group, groups_.size() - 1, where);
  }
}

LayerScheme ConfigGroups::read_group(const json::Object& group, const std::string& format, const std::string& what) {
  const std::string name = json::get_string(group, "format", what).value_or(format);
  const auto layout = layout_from_name(name);
  if (!layout)
    throw_unsupported(str(what, ": format '", printable(name),
                          "' is not read; known are pack-quantized, int-quantized, naive-quantized, float-quantized, "
                          "nvfp4-pack-quantized, mxfp4-pack-quantized and mxfp8-quantized"));
  return {*layout, read_args(group, *layout, what)};
}

void ConfigGroups::read_targets(const json::Object& group, size_t index, const std::string& what) {
  const json::Value* targets = json::find(group, "targets");
  if (targets == nullptr) throw_input(str(what, ": has no targets"));
  for (const json::Value& value : json::as_array(*targets, what + ": targets")) {
    if (!value.is_string()) throw_input(str(what, ": a target is not a string"));
    const std::string name(value.get_string());
    Target target{.name = name, .pattern = nullptr, .group = index};
    if (name.starts_with(kPattern)) {
      try {
        // A target is matched from the start of the name, as Python's re.match does.
        target.pattern = std::make_shared<Regex>("^(?:" + name.substr(kPattern.size()) + ")", what);
      } catch (const Error& error) {  // the file's fault, not the command line's
        throw_input(error.what());
      }
    }
    // The name of a layer is looked up; what may be a pattern or a class is tried for every layer, and they are few.
    if (!target.pattern) exact_.emplace(name, index);
    if (target.pattern || name.find('.') == std::string::npos) targets_.push_back(std::move(target));
  }
}

namespace {

// Which class a module has is not in the files: packed are linear layers, and tables of embeddings by their names.
bool may_be_class(const std::string& target, const std::string& layer) {
  if (target.find('.') != std::string::npos) return false;
  const bool embedding = layer.ends_with("embed_tokens") || layer.ends_with("wte");
  return (target == kEmbedding) == embedding;
}

}  // namespace

const LayerScheme* ConfigGroups::find(const std::string& layer) const {
  if (const auto exact = exact_.find(layer); exact != exact_.end()) return &groups_[exact->second];
  const Target* best = nullptr;
  for (const Target& target : targets_) {
    if (target.pattern && target.pattern->search(layer)) {
      if (best == nullptr || !best->pattern) best = &target;
    } else if (!target.pattern && best == nullptr && may_be_class(target.name, layer)) {
      best = &target;
    }
  }
  return best == nullptr ? nullptr : &groups_[best->group];
}

}  // namespace arkit::llm_compressor
