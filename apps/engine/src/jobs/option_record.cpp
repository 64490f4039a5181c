#include "jobs/option_record.h"

#include <optional>

#include <arkit/engine/resolved_options.h>

#include "jobs/export_set.h"
#include "jobs/mix_search.h"
#include "jobs/option_effects.h"
#include "jobs/plan_refinement.h"
#include "options/option_json.h"
#include "quant/format_lookup.h"
#include "quant/scheme_resolver.h"
#include "quant/scheme_traits.h"
#include "transform/algs.h"

namespace arkit {
namespace {

// From here on the automatic rate depends on a layer's bits (docs/spec/signround.md 5).
constexpr int64_t kManyIters = 1000;

// What the preset and the overrides make together, where that is one scheme for all layers.
std::optional<LayerQuant> one_scheme(const QuantizeOptions& options, const Registry& registry) {
  if (!options.recipe_file.empty() || !options.auto_scheme.options.empty()) return std::nullopt;
  const ResolvedScheme scheme = resolve_preset(options.scheme, registry);
  if (scheme.dense) return std::nullopt;
  return apply_overrides(scheme.quant, options.overrides, registry, "scheme");
}

void settle_scheme(const QuantizeOptions& options, const Registry& registry, SchemeOverrides& own) {
  const std::optional<LayerQuant> quant = one_scheme(options, registry);
  if (!quant) return;
  const auto& [weight, act, rotation] = *quant;
  const auto settle = [](auto& option, const auto& value) {
    if (!option) option = value;
  };
  settle(own.bits, weight.bits);
  if (weight.quantized()) {
    settle(own.group_size, weight.group_size);
    settle(own.sym, weight.sym);
    if (weight.observer.empty() || weight.observer.starts_with(kSearchRule)) settle(own.data_type, weight.data_type);
    const int64_t width = weight.group_size > 0 ? weight.group_size : 4096;  // any that groups divide
    const LayerPlan layer{.out_features = width, .in_features = width, .quant = *quant};
    if (stores_scale_dtype(layer, registry)) settle(own.scale_dtype, weight.scale_dtype);
  }
  settle(own.act_bits, act.bits);
  if (!act.quantized()) return;
  settle(own.act_group_size, act.group_size);
  settle(own.act_data_type, act.data_type);
  settle(own.act_sym, act.sym);
  settle(own.act_dynamic, act.dynamic);
}

// Rates that nothing moves by are none.
void settle_rates(const ResolvedTuning& tuning, TuningOptions& own) {
  std::optional<double> lr;
  if (tuning.lr > 0.0)
    lr = tuning.lr;
  else if (tuning.iters > 0 && tuning.iters < kManyIters)
    lr = 1.0 / static_cast<double>(tuning.iters);
  if (tuning.iters == 0) lr.reset();
  const bool scales_move = tuning.iters > 0 && own.enable_minmax_tuning && !own.enable_neuqi;
  own.lr = lr;
  own.minmax_lr = tuning.minmax_lr > 0.0 ? std::optional(tuning.minmax_lr) : lr;
  if (!scales_move) own.minmax_lr.reset();
}

// The length of a sample is the model's to decide.
void settle_scoring(AutoSchemeOptions& mix) {
  if (mix.options.empty()) return;
  mix.nsamples = mix.nsamples.value_or(kScoreSamples);
  mix.batch_size = mix.batch_size.value_or(kScoreBatch);
}

// The options with everything decided that a record can say of them.
QuantizeOptions decided(const QuantizeOptions& options, const ResolvedTuning& tuning, const Registry& registry) {
  QuantizeOptions all = options;
  if (!options.recipe_file.empty() || !options.auto_scheme.options.empty()) all.scheme.clear();
  if (!options.recipe_file.empty()) all.recipe.clear();
  settle_scheme(options, registry, all.overrides);
  settle_scoring(all.auto_scheme);
  all.tuning = tuning.options;
  all.tuning.iters = tuning.iters;
  all.tuning.nsamples = tuning.nsamples;
  all.tuning.seqlen = tuning.seqlen;
  all.tuning.batch_size = tuning.batch_size;
  all.tuning.disable_opt_rtn = tuning.disable_opt_rtn;
  all.tuning.enable_alg_ext = tuning.enable_alg_ext;
  all.tuning.not_use_best_mse = tuning.not_use_best_mse;
  all.tuning.nblocks = tuning.nblocks;
  settle_rates(tuning, all.tuning);
  return all;
}

}  // namespace

json::Object recorded_options(const QuantizeOptions& options, const ResolvedTuning& tuning, const Registry& registry) {
  return describe_options(decided(options, tuning, registry));
}

std::string usual_format(std::string_view scheme, const Registry& registry) {
  return format_of_scheme(scheme, registry).name;
}

json::Object resolved_options(const QuantizeOptions& typed, const Registry& registry) {
  QuantizeOptions options = typed;
  options.scheme = scheme_of(typed, registry);
  QuantizeOptions whole = options;
  const Algs algs = parse_algs(options.algs, registry);
  apply_algs(algs, whole);
  ResolvedTuning tuning =
      resolve_tuning(options.recipe, whole.tuning, !algs.transforms.empty() || wants_samples(options, registry));
  if (options.model_free.value_or(false)) {  // as plan_model does
    tuning.iters = 0;
    tuning.disable_opt_rtn = true;
  }
  const std::optional<LayerQuant> quant = one_scheme(options, registry);
  if (quant)
    decide_for_bits(tuning, options.recipe, quant->weight, traits_of(*quant, schemes_of(registry)).integer_grid,
                    !algs.transforms.empty());
  QuantizeOptions all = decided(options, tuning, registry);
  if (!quant) {  // decided with the plan
    all.tuning.enable_alg_ext = options.tuning.enable_alg_ext;
    all.tuning.not_use_best_mse = options.tuning.not_use_best_mse;
    all.tuning.nblocks = options.tuning.nblocks;
  }
  if (!options.recipe_file.empty()) {
    // The file states what is not given here, and what is given goes into its copy beside the export.
    const TuningOptions& given = options.tuning;
    all.tuning.iters = given.iters;
    all.tuning.lr = given.lr;
    all.tuning.minmax_lr = given.minmax_lr;
    all.tuning.batch_size = given.batch_size;
    all.tuning.disable_opt_rtn = given.disable_opt_rtn;
  }
  return describe_options(all);
}

}  // namespace arkit
