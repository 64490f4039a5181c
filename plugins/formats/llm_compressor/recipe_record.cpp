#include "recipe_record.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <arkit/error.h>
#include <arkit/sdk/linear_layers.h>
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

// Without its targets.
json::Object scheme_of(const LayerQuant& quant) {
  const Layout layout = layout_of(quant).value();
  json::Object scheme;
  scheme["targets"] = json::Array{};
  scheme["weights"] = all_args(weight_args(quant, layout), Role::weights);
  const json::Value input = activation_args(quant, layout);
  scheme["input_activations"] = input.is_object() ? json::Value(all_args(input.get_object(), Role::input)) : input;
  scheme["output_activations"] = nullptr;
  scheme["format"] = nullptr;
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

RecipeRecord recipe_of(const ExportRequest& request) {
  const QuantPlan& plan = request.plan;
  const RunRecord& run = request.run;
  RecipeRecord record;
  std::vector<std::pair<LayerQuant, size_t>> known;  // how layers are quantized -> index of the scheme that says it
  std::vector<json::Array> targets;                  // of each scheme
  json::Array ignore;
  for (const LayerPlan& layer : plan.layers) {
    if (!layer.quantized()) {
      ignore.emplace_back(layer.name);
      continue;
    }
    const LayerQuant quant = normalised(layer);
    auto same = std::find_if(known.begin(), known.end(), [&](const auto& entry) { return entry.first == quant; });
    if (same == known.end()) {
      json::Object scheme = scheme_of(quant);
      const auto found = std::find(record.schemes.begin(), record.schemes.end(), scheme);
      same = known.emplace(known.end(), quant, static_cast<size_t>(found - record.schemes.begin()));
      if (found == record.schemes.end()) record.schemes.push_back(std::move(scheme));
      targets.resize(record.schemes.size());
    }
    const size_t index = same->second;
    targets[index].emplace_back(layer.name);
    record.layers.emplace(layer.name, index);
  }
  for (const std::string& name : unplanned_linears(plan, request.source.weights())) ignore.emplace_back(name);
  const bool one = record.schemes.size() == 1;
  if (one) targets.front() = json::Array{"Linear"};
  for (size_t i = 0; i < targets.size(); ++i) record.schemes[i]["targets"] = std::move(targets[i]);
  json::Object fields;
  const std::string preset = one ? preset_of(known.front().first) : std::string();
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

json::Object recorded_config(const QuantPlan& plan, const RecipeRecord& record, const WeightSource& weights) {
  json::Object groups;
  std::vector<std::pair<json::Object, Layout>> seen;
  std::set<LayerKind> kinds;
  std::set<std::pair<size_t, Layout>> written;  // scheme of the recipe, how it is stored
  for (const LayerPlan& layer : plan.layers) {
    if (!layer.quantized()) continue;
    kinds.insert(layer.kind == LayerKind::expert ? LayerKind::linear : layer.kind);
    const auto found = record.layers.find(layer.name);
    ARKIT_CHECK(found != record.layers.end() && found->second < record.schemes.size(),
                str("layer '", layer.name, "' has no scheme in the recipe"));
    const Layout layout = layout_of(normalised(layer)).value();
    if (!written.emplace(found->second, layout).second) continue;
    json::Object scheme = record.schemes[found->second];
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
  for (const std::string& name : unplanned_linears(plan, weights)) ignore.emplace_back(name);
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
