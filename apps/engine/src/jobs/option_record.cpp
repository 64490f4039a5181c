#include "jobs/option_record.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <arkit/engine/resolved_options.h>

#include "quant/scheme_resolver.h"
#include "transform/algs.h"

namespace arkit {
namespace {

// From here on the automatic rate depends on a layer's bits (docs/spec/signround.md 5).
constexpr int64_t kManyIters = 1000;

template <typename Given>
json::Value or_null(const std::optional<Given>& given) {
  return given ? json::Value(*given) : json::Value();
}

json::Value text_or_null(const std::string& text) {
  return text.empty() ? json::Value() : json::Value(text);
}

json::Array texts(const std::vector<std::string>& values) {
  json::Array array;
  for (const std::string& value : values) array.emplace_back(value);
  return array;
}

void record_scheme(const QuantizeOptions& options, json::Object& o) {
  const bool named = options.recipe_file.empty() && options.auto_scheme.options.empty();
  o["scheme"] = named ? json::Value(options.scheme) : json::Value();
  const SchemeOverrides& own = options.overrides;
  o["bits"] = or_null(own.bits);
  o["group_size"] = or_null(own.group_size);
  o["sym"] = or_null(own.sym);
  o["data_type"] = or_null(own.data_type);
  o["scale_dtype"] = or_null(own.scale_dtype);
  o["act_bits"] = or_null(own.act_bits);
  o["act_group_size"] = or_null(own.act_group_size);
  o["act_data_type"] = or_null(own.act_data_type);
  o["act_sym"] = or_null(own.act_sym);
  o["act_dynamic"] = or_null(own.act_dynamic);
}

// What the preset and the overrides make together, where that is one scheme for all layers.
std::optional<LayerQuant> one_scheme(const QuantizeOptions& options, const Registry& registry) {
  if (!options.recipe_file.empty() || !options.auto_scheme.options.empty()) return std::nullopt;
  const ResolvedScheme scheme = resolve_preset(options.scheme, registry);
  if (scheme.dense) return std::nullopt;
  return apply_overrides(scheme.quant, options.overrides, registry, "scheme");
}

void resolve_scheme(const QuantizeOptions& options, const Registry& registry, json::Object& o) {
  const std::optional<LayerQuant> quant = one_scheme(options, registry);
  if (!quant) return;
  const auto& [weight, act, rotation] = *quant;
  const auto fill = [&o](const char* name, json::Value value) {
    if (o[name].is_null()) o[name] = std::move(value);
  };
  fill("bits", weight.bits);
  if (weight.quantized()) {
    fill("group_size", weight.group_size);
    fill("sym", weight.sym);
    if (weight.observer.empty()) fill("data_type", json::Value(weight.data_type));
  }
  fill("act_bits", act.bits);
  if (!act.quantized()) return;
  fill("act_group_size", act.group_size);
  fill("act_data_type", json::Value(act.data_type));
  fill("act_sym", act.sym);
  fill("act_dynamic", act.dynamic);
}

void record_mix(const AutoSchemeOptions& mix, json::Object& o) {
  json::Array budgets, shared;
  for (const double bits : mix.avg_bits) budgets.emplace_back(bits);
  for (const std::vector<std::string>& group : mix.shared_layers) shared.emplace_back(texts(group));
  const json::Object described{{"options", texts(mix.options)},
                               {"avg_bits", budgets.empty() ? json::Value() : json::Value(std::move(budgets))},
                               {"target_size", or_null(mix.target_size)},
                               {"bits_accounting", mix.target_size ? json::Value() : json::Value(mix.bits_accounting)},
                               {"ignore_scale_zp_bits", mix.ignore_scale_zp_bits},
                               {"shared_layers", std::move(shared)},
                               {"no_share_fused", !mix.share_fused_layers},
                               {"score", mix.score},
                               {"score_nsamples", or_null(mix.nsamples)},
                               {"score_seqlen", or_null(mix.seqlen)},
                               {"score_batch_size", or_null(mix.batch_size)},
                               {"score_cache", text_or_null(mix.cache_dir.string())},
                               {"no_score_cache", !mix.use_cache},
                               {"refine_seconds", mix.refine_seconds},
                               {"svg", text_or_null(mix.svg.string())},
                               {"save_layer_config", text_or_null(mix.save_layer_config.string())}};
  for (const auto& [name, value] : described) o[name] = mix.options.empty() ? json::Value() : value;
}

void record_rates(const ResolvedTuning& tuning, json::Object& o) {
  const TuningOptions& t = tuning.options;
  std::optional<double> lr;
  if (tuning.lr > 0.0)
    lr = tuning.lr;
  else if (tuning.iters > 0 && tuning.iters < kManyIters)
    lr = 1.0 / static_cast<double>(tuning.iters);
  if (tuning.iters == 0) lr.reset();
  const std::optional<double> minmax_lr = tuning.minmax_lr > 0.0 ? std::optional(tuning.minmax_lr) : lr;
  const bool scales_move = tuning.iters > 0 && t.enable_minmax_tuning && !t.enable_neuqi;
  o["lr"] = or_null(lr);
  o["minmax_lr"] = scales_move ? or_null(minmax_lr) : json::Value();
  o["momentum"] = t.momentum;
}

void record_tuning(const QuantizeOptions& options, const ResolvedTuning& tuning, json::Object& o) {
  const TuningOptions& t = tuning.options;
  o["recipe"] = options.recipe_file.empty() ? json::Value(options.recipe) : json::Value();
  o["recipe_file"] = text_or_null(options.recipe_file.string());
  o["iters"] = tuning.iters;
  record_rates(tuning, o);
  o["batch_size"] = tuning.batch_size;
  o["gradient_accumulate_steps"] = t.gradient_accumulate_steps;
  o["nblocks"] = t.nblocks;
  o["dynamic_max_gap"] = t.dynamic_max_gap;
  o["enable_minmax_tuning"] = t.enable_minmax_tuning;
  o["enable_quanted_input"] = t.enable_quanted_input;
  o["enable_norm_bias_tuning"] = t.enable_norm_bias_tuning;
  o["not_use_best_mse"] = tuning.not_use_best_mse;
  o["enable_alg_ext"] = tuning.enable_alg_ext;
  o["enable_adam"] = t.enable_adam;
  o["enable_neuqi"] = t.enable_neuqi;
  o["disable_opt_rtn"] = or_null(tuning.disable_opt_rtn);
  o["amp_dtype"] = t.amp_dtype;
  o["enable_deterministic_algorithms"] = t.enable_deterministic_algorithms;
  o["seed"] = t.seed;
  o["dataset"] = options.dataset;
  o["nsamples"] = tuning.nsamples;
  o["seqlen"] = tuning.seqlen;
}

void record_layers(const QuantizeOptions& options, json::Object& o) {
  const AttentionOptions& attention = options.attention;
  o["layer_config"] = options.layer_config;
  o["ignore_layers"] = texts(options.ignore_layers);
  o["model_free"] = or_null(options.model_free);
  o["quant_lm_head"] = options.quant_lm_head;
  o["rotation"] = text_or_null(options.rotation);
  o["algs"] = text_or_null(options.algs);
  o["to_quant_block_names"] = texts(options.to_quant_block_names);
  o["static_kv_dtype"] = text_or_null(attention.kv_dtype);
  o["static_kv_granularity"] = text_or_null(attention.kv_dtype.empty() ? "" : attention.kv_granularity);
  o["static_attention_dtype"] = text_or_null(attention.attention_dtype);
  o["static_attention_granularity"] =
      text_or_null(attention.attention_dtype.empty() ? "" : attention.attention_granularity);
  o["num_hidden_layers"] = or_null(options.num_hidden_layers);
  o["on_indivisible"] = text_or_null(options.on_indivisible);
  o["allow_unmatched"] = options.allow_unmatched;
}

void record_output(const QuantizeOptions& options, json::Object& o) {
  o["format"] = texts(options.formats);
  o["runtime"] = text_or_null(options.runtime);
  o["output_dir"] = text_or_null(options.output_dir.string());
  o["max_shard_size"] = options.max_shard_bytes;
  o["force"] = options.force;
  o["dry_run"] = options.dry_run;
  o["device_map"] = options.device_map;
}

}  // namespace

json::Object recorded_options(const QuantizeOptions& options, const ResolvedTuning& tuning, const Registry& registry) {
  json::Object o;
  o["model"] = options.model;
  record_scheme(options, o);
  resolve_scheme(options, registry, o);
  record_mix(options.auto_scheme, o);
  record_tuning(options, tuning, o);
  record_layers(options, o);
  record_output(options, o);
  return o;
}

json::Object resolved_options(const QuantizeOptions& options, const Registry& registry) {
  QuantizeOptions whole = options;
  apply_algs(parse_algs(options.algs, registry), whole);
  ResolvedTuning tuning = resolve_tuning(options.recipe, whole.tuning);
  if (options.model_free.value_or(false)) {  // as plan_model does
    tuning.iters = 0;
    tuning.disable_opt_rtn = true;
  }
  const std::optional<LayerQuant> quant = one_scheme(options, registry);
  if (quant) decide_for_bits(tuning, options.recipe, quant->weight);
  json::Object o = recorded_options(options, tuning, registry);
  if (!quant) {  // decided with the plan
    o["enable_alg_ext"] = or_null(options.tuning.enable_alg_ext);
    o["not_use_best_mse"] = or_null(options.tuning.not_use_best_mse);
  }
  if (options.recipe_file.empty()) return o;
  // The file states what is not given here, and what is given goes into its copy beside the export.
  const TuningOptions& given = options.tuning;
  o["iters"] = or_null(given.iters);
  o["lr"] = or_null(given.lr);
  o["minmax_lr"] = or_null(given.minmax_lr);
  o["batch_size"] = or_null(given.batch_size);
  o["disable_opt_rtn"] = or_null(given.disable_opt_rtn);
  return o;
}

}  // namespace arkit
