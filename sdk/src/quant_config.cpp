#include <arkit/sdk/quant_config.h>

#include <algorithm>
#include <cmath>
#include <unordered_set>

#include <arkit/error.h>
#include <arkit/regex.h>
#include <arkit/sdk/attention_scales.h>
#include <arkit/sdk/linear_layers.h>
#include <arkit/str.h>

namespace arkit::sdk {
namespace {

json::Value group_size_value(const TensorQuant& quant) {
  if (quant.block_rows > 0) return json::Array{quant.block_rows, quant.group_size};
  return quant.group_size;
}

void add_run_settings(json::Object& config, const RunRecord& run) {
  if (run.iters == 0) {  // RTN and OPT-RTN: no block ever sees a quantized input, and nothing is tuned
    config["enable_quanted_input"] = false;
    return;
  }
  if (!run.enable_minmax_tuning) config["enable_minmax_tuning"] = false;
  if (run.enable_norm_bias_tuning) config["enable_norm_bias_tuning"] = true;
  if (!run.enable_quanted_input) config["enable_quanted_input"] = false;
  if (run.gradient_accumulate_steps != 1) config["gradient_accumulate_steps"] = run.gradient_accumulate_steps;
  if (run.iters != 200) config["iters"] = run.iters;
  const double automatic = 1.0 / static_cast<double>(run.iters);
  const double lr = run.lr > 0 ? run.lr : automatic;
  const double minmax_lr = run.minmax_lr > 0 ? run.minmax_lr : lr;
  if (lr != automatic) config["lr"] = lr;
  if (minmax_lr != automatic) config["minmax_lr"] = minmax_lr;
}

json::Object full_scheme(const LayerQuant& quant) {
  const TensorQuant& w = quant.weight;
  json::Object scheme;
  scheme["bits"] = w.bits;
  scheme["group_size"] = group_size_value(w);
  scheme["sym"] = w.sym;
  scheme["data_type"] = w.data_type;
  scheme["act_bits"] = quant.act.bits;
  // An activation that stays in floating point takes the weight's grouping in the reference's record.
  scheme["act_group_size"] = quant.act.quantized() ? group_size_value(quant.act) : group_size_value(w);
  scheme["act_sym"] = quant.act.quantized() ? quant.act.sym : w.sym;
  scheme["act_data_type"] = quant.act.data_type;
  scheme["act_dynamic"] = quant.act.dynamic;
  scheme["super_bits"] = w.super_bits > 0 ? json::Value(w.super_bits) : json::Value(nullptr);
  scheme["super_group_size"] = w.super_group_size > 0 ? json::Value(w.super_group_size) : json::Value(nullptr);
  scheme["rotation_config"] = quant.rotation.empty() ? json::Value(nullptr) : json::Value(quant.rotation);
  return scheme;
}

void add_act_difference(json::Object& fields, const TensorQuant& act, const TensorQuant& global) {
  if (act.bits != global.bits) fields["act_bits"] = act.bits;
  if (act.data_type != global.data_type) fields["act_data_type"] = act.data_type;
  if (!act.quantized()) return;
  if (act.group_size != global.group_size || act.block_rows != global.block_rows)
    fields["act_group_size"] = group_size_value(act);
  if (act.sym != global.sym) fields["act_sym"] = act.sym;
  if (act.dynamic != global.dynamic) fields["act_dynamic"] = act.dynamic;
}

// A pattern's full scheme: what it leaves alone about activations is the plan's.
json::Object full_pattern(const PatternRule& rule, const LayerQuant& global) {
  json::Object scheme = full_scheme(rule.quant);
  if (rule.quant.act.quantized()) return scheme;
  scheme["act_group_size"] = group_size_value(global.act);
  scheme["act_sym"] = global.act.sym;
  scheme["act_dynamic"] = global.act.dynamic;
  return scheme;
}

// What a layer left in floating point records.
json::Object kept(const LayerQuant& global) {
  json::Object fields{{"bits", 16}, {"data_type", "float"}};
  if (global.act.quantized()) {
    fields["act_bits"] = 16;
    fields["act_data_type"] = "float";
  }
  return fields;
}

}  // namespace

std::string dtype_name(at::ScalarType dtype) {
  switch (dtype) {
    case at::ScalarType::BFloat16:
      return "bfloat16";
    case at::ScalarType::Half:
      return "float16";
    case at::ScalarType::Float:
      return "float32";
    case at::ScalarType::Double:
      return "float64";
    default:
      break;
  }
  throw_unsupported(str("config.json has no name for the dtype ", c10::toString(dtype)));
}

Verdict quantizes_something(const QuantPlan& plan, std::string_view format) {
  for (const LayerPlan& layer : plan.layers)
    if (layer.quantized()) return Verdict::yes();
  return Verdict::no(str("nothing is quantized, and ", format, " cannot record that; use --format auto_round or fake"));
}

std::string block_prefixes(const QuantPlan& plan) {
  std::string joined;
  for (const std::string& list : plan.block_lists) {
    if (!joined.empty()) joined += ',';
    joined += list;
  }
  return joined;
}

namespace {

// What a model-free run records instead (docs/spec/model-free.md 5).
json::Object model_free_config(const QuantPlan& plan, const RunRecord& run) {
  const TensorQuant& weight = plan.global.weight;
  const TensorQuant& act = plan.global.act;
  json::Object config{{"bits", weight.bits},
                      {"group_size", group_size_value(weight)},
                      {"sym", weight.sym},
                      {"data_type", weight.data_type},
                      {"iters", 0},
                      {"model_free", true},
                      {"autoround_version", run.reference_version}};
  if (!act.quantized()) return config;
  if (weight.data_type.starts_with("mx")) config["enable_quanted_input"] = false;
  config["act_bits"] = act.bits;
  config["act_data_type"] = act.data_type;
  config["act_dynamic"] = act.dynamic;
  config["act_group_size"] = group_size_value(act);
  config["act_sym"] = act.sym;
  return config;
}

}  // namespace

json::Object base_quantization_config(const QuantPlan& plan, const RunRecord& run, std::string_view block_key) {
  if (run.model_free) {
    json::Object config = model_free_config(plan, run);
    if (!block_key.empty()) config[block_key] = block_prefixes(plan);
    return config;
  }
  const TensorQuant& weight = plan.global.weight;
  const TensorQuant& act = plan.global.act;
  const bool with_act = act.quantized();
  json::Object config;
  config["bits"] = weight.bits;
  if (with_act) config["act_bits"] = act.bits;
  config["data_type"] = weight.data_type;
  if (with_act) config["act_data_type"] = act.data_type;
  config["group_size"] = group_size_value(weight);
  if (with_act) config["act_group_size"] = group_size_value(act);
  config["sym"] = weight.sym;
  if (with_act) {
    config["act_sym"] = act.sym;
    config["act_dynamic"] = act.dynamic;
  }
  add_run_settings(config, run);
  if (run.scale_dtype != "float16") config["scale_dtype"] = "torch." + run.scale_dtype;
  add_static_attention(config, plan.attention);
  if (!block_key.empty()) config[block_key] = block_prefixes(plan);
  config["autoround_version"] = run.reference_version;
  return config;
}

json::Object scheme_difference(const LayerQuant& quant, const LayerQuant& global) {
  const TensorQuant& w = quant.weight;
  json::Object fields;
  if (w.bits != global.weight.bits) fields["bits"] = w.bits;
  if (w.quantized()) {
    if (w.group_size != global.weight.group_size || w.block_rows != global.weight.block_rows)
      fields["group_size"] = group_size_value(w);
    if (w.sym != global.weight.sym) fields["sym"] = w.sym;
  }
  if (w.data_type != global.weight.data_type) fields["data_type"] = w.data_type;
  add_act_difference(fields, quant.act, global.act);
  return fields;
}

std::vector<const PatternRule*> pattern_rules(const QuantPlan& plan) {
  std::unordered_set<std::string_view> names;
  if (!plan.rules.empty())
    for (const LayerPlan& layer : plan.layers) names.insert(layer.name);
  std::vector<const PatternRule*> rules;
  for (const PatternRule& rule : plan.rules)
    if (!names.contains(rule.pattern)) rules.push_back(&rule);
  return rules;
}

json::Object extra_config(const QuantPlan& plan, bool full_patterns) {
  const std::vector<const PatternRule*> rules = pattern_rules(plan);
  std::vector<Regex> patterns;
  for (const PatternRule* rule : rules) patterns.emplace_back(rule->regex, "layer pattern");
  const auto any_pattern_hits = [&](const std::string& name) {
    return std::any_of(patterns.begin(), patterns.end(), [&](const Regex& pattern) { return pattern.search(name); });
  };
  json::Object extra;
  for (const LayerPlan& layer : plan.layers) {
    if (layer.block < 0) {
      if (layer.quantized()) extra[layer.name] = full_scheme(layer.quant);
      continue;
    }
    json::Object fields = scheme_difference(layer.quant, plan.global);
    // A layer of the global scheme that a recorded pattern also hits must say so itself: exact names win over patterns.
    if (fields.empty() && any_pattern_hits(layer.name)) fields["bits"] = layer.quant.weight.bits;
    if (!fields.empty()) extra[layer.name] = std::move(fields);
  }
  for (const PatternRule* rule : rules) {
    json::Object fields = scheme_difference(rule->quant, plan.global);
    if (!fields.empty()) extra[rule->regex] = full_patterns ? full_pattern(*rule, plan.global) : std::move(fields);
  }
  return extra;
}

json::Object model_free_extra_config(const QuantPlan& plan) {
  const json::Object as_it_is = kept(plan.global);
  json::Object extra;
  for (const LayerPlan& layer : plan.layers) {
    if (!layer.quantized()) {
      extra[layer.name] = as_it_is;
    } else if (layer.block < 0) {
      json::Object fields = full_scheme(layer.quant);
      for (const std::string_view key : {"super_bits", "super_group_size", "rotation_config"})
        if (fields.at(key).is_null()) fields.erase(key);
      extra[layer.name] = std::move(fields);
    } else if (json::Object fields = scheme_difference(layer.quant, plan.global); !fields.empty()) {
      extra[layer.name] = std::move(fields);
    }
  }
  for (const PatternRule* rule : pattern_rules(plan)) {
    if (rule->ignore) continue;
    json::Object fields = scheme_difference(rule->quant, plan.global);
    if (!rule->quant.quantized()) fields = {{"bits", 16}};
    if (!fields.empty()) extra[rule->pattern] = std::move(fields);
  }
  return extra;
}

void leave_alone(json::Object& extra, const ExportRequest& request) {
  const json::Object as_it_is = kept(request.plan.global);
  for (const std::string& name : unplanned_linears(request.plan, request.source.weights())) extra[name] = as_it_is;
}

}  // namespace arkit::sdk
