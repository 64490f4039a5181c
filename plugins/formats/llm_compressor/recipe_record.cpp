#include "recipe_record.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <arkit/error.h>
#include <arkit/str.h>

#include "layouts.h"
#include "quantization_args.h"

namespace arkit::llm_compressor {
namespace {

constexpr const char* kVersion = "0.19.0";  // of compressed-tensors, whose files these are

enum class Role { weights, input, kv_cache };

// All arguments of the class, in the order it declares them.
json::Object all_args(const json::Object& given, Role role) {
  json::Object args;
  const auto copy = [&](const char* field, json::Value fallback) {
    const json::Value* value = given.if_contains(field);
    args[field] = value != nullptr ? *value : std::move(fallback);
  };
  for (const char* field : {"num_bits", "type", "symmetric", "group_size", "strategy", "block_structure", "dynamic",
                            "actorder", "scale_dtype"})
    copy(field, nullptr);
  const bool asymmetric = args["symmetric"].is_bool() && !args["symmetric"].get_bool();
  args["zp_dtype"] = asymmetric ? json::Value("torch.int8") : json::Value(nullptr);
  const bool at_run_time = args["dynamic"].is_bool() && args["dynamic"].get_bool();
  const bool none = at_run_time || role == Role::kv_cache;
  copy("observer",
       none ? json::Value(nullptr) : json::Value(role == Role::weights ? "memoryless_minmax" : "static_minmax"));
  copy("observer_kwargs", json::Object{});
  return args;
}

json::Object scheme_of(const LayerPlan& layer, json::Array targets) {
  const LayerQuant quant = normalised(layer);
  const Layout layout = layout_of(quant).value();
  json::Object scheme;
  scheme["targets"] = std::move(targets);
  scheme["weights"] = all_args(weight_args(quant, layout), Role::weights);
  const json::Value input = activation_args(quant, layout);
  scheme["input_activations"] = input.is_object() ? json::Value(all_args(input.get_object(), Role::input)) : input;
  scheme["output_activations"] = nullptr;
  scheme["format"] = nullptr;
  return scheme;
}

json::Object without_targets(json::Object scheme) {
  scheme.erase("targets");
  return scheme;
}

// The preset of llm-compressor that says the same; empty = none. AutoRoundModifier takes the micro-scaled formats by
// name only.
std::string preset_of(const LayerQuant& quant) {
  const TensorQuant &w = quant.weight, &a = quant.act;
  const bool with_act = a.quantized();
  if (w.data_type == "int" && w.sym && w.group_size == 128 && !with_act) return str("W", w.bits, "A16");
  if (w.data_type == "int" && !w.sym && w.group_size == 128 && w.bits == 4 && !with_act) return "W4A16_ASYM";
  if (w.data_type == "nv_fp") return with_act ? "NVFP4" : "NVFP4A16";
  if (w.data_type == "mx_fp") return str("MXFP", w.bits, with_act ? "" : "A16");
  return {};
}

}  // namespace

RecipeRecord recipe_of(const QuantPlan& plan, const RunRecord& run) {
  RecipeRecord record;
  std::vector<const LayerPlan*> firsts;
  json::Array ignore;
  for (const LayerPlan& layer : plan.layers) {
    if (!layer.quantized()) {
      ignore.emplace_back(layer.name);
      continue;
    }
    const json::Object scheme = scheme_of(layer, {});
    size_t index = 0;
    while (index < record.schemes.size() && without_targets(record.schemes[index]) != without_targets(scheme)) ++index;
    if (index == record.schemes.size()) {
      record.schemes.push_back(scheme);
      firsts.push_back(&layer);
    }
    record.schemes[index]["targets"].get_array().emplace_back(layer.name);
    record.layers.emplace(layer.name, index);
  }
  const bool one = record.schemes.size() == 1;
  if (one) record.schemes.front()["targets"] = json::Array{"Linear"};
  json::Object fields;
  const std::string preset = one ? preset_of(normalised(*firsts.front())) : std::string();
  if (preset.empty()) {
    json::Object groups;
    for (size_t i = 0; i < record.schemes.size(); ++i) groups[str("group_", i)] = record.schemes[i];
    fields["config_groups"] = std::move(groups);
  }
  fields["targets"] = json::Array{"Linear"};
  fields["ignore"] = std::move(ignore);
  if (!preset.empty()) fields["scheme"] = preset;
  const json::Value kv = attention_args(plan.attention.kv, plan.attention.kv_per_head);
  if (kv.is_object()) fields["kv_cache_scheme"] = record.kv_cache_scheme = all_args(kv.get_object(), Role::kv_cache);
  fields["bypass_divisibility_checks"] = false;
  fields["requires_calibration_data"] = true;
  fields["iters"] = run.iters;
  fields["enable_torch_compile"] = false;
  fields["batch_size"] = run.batch_size;
  if (run.lr > 0) fields["lr"] = run.lr;
  fields["disable_opt_rtn"] = run.disable_opt_rtn.value_or(false);
  record.document["default_stage"] =
      json::Object{{"default_modifiers", json::Object{{"AutoRoundModifier", std::move(fields)}}}};
  return record;
}

json::Object recorded_config(const QuantPlan& plan, const RecipeRecord& record) {
  json::Object groups;
  std::vector<std::pair<json::Object, Layout>> seen;
  std::set<LayerKind> kinds;
  for (const LayerPlan& layer : plan.layers) {
    if (!layer.quantized()) continue;
    kinds.insert(layer.kind == LayerKind::expert ? LayerKind::linear : layer.kind);
    const auto found = record.layers.find(layer.name);
    ARKIT_CHECK(found != record.layers.end() && found->second < record.schemes.size(),
                str("layer '", layer.name, "' has no scheme in the recipe"));
    json::Object scheme = record.schemes[found->second];
    const Layout layout = layout_of(normalised(layer)).value();
    const json::Value* wanted = json::find(scheme, "format");
    if (wanted != nullptr && *wanted != json::Value(layout_name(layout)))
      throw_unsupported(str("format ", json::dump(*wanted),
                            " of a config group is not how its scheme is stored; leave it "
                            "out, or write ",
                            layout_name(layout)));
    scheme["format"] = layout_name(layout);
    if (std::any_of(seen.begin(), seen.end(), [&](const auto& entry) { return entry.first == scheme; })) continue;
    groups[str("group_", seen.size())] = scheme;
    seen.emplace_back(std::move(scheme), layout);
  }
  json::Array ignore;
  for (const LayerPlan& layer : plan.layers)
    if (!layer.quantized() && kinds.contains(layer.kind == LayerKind::expert ? LayerKind::linear : layer.kind))
      ignore.emplace_back(layer.name);
  if (seen.empty() && record.kv_cache_scheme.is_null()) return {};
  const bool mixed =
      std::any_of(seen.begin(), seen.end(), [&](const auto& entry) { return entry.second != seen.front().second; });
  json::Object config;
  config["config_groups"] = std::move(groups);
  config["format"] = seen.empty() ? json::Value("dense")
                     : mixed      ? json::Value("mixed-precision")
                                  : json::Value(layout_name(seen.front().second));
  config["global_compression_ratio"] = nullptr;
  config["ignore"] = std::move(ignore);
  config["kv_cache_scheme"] = record.kv_cache_scheme;
  config["quant_method"] = "compressed-tensors";
  config["quantization_status"] = "compressed";
  config["sparsity_config"] = json::Object{};
  config["transform_config"] = json::Object{};
  config["version"] = kVersion;
  return config;
}

}  // namespace arkit::llm_compressor
