#include "tuning/tune_options.h"

#include "quant/recipes.h"

namespace arkit {

TuneOptions tune_options(const ResolvedTuning& tuning) {
  const TuningOptions& given = tuning.options;
  return {.iters = tuning.iters,
          .batch_size = tuning.batch_size,
          .gradient_accumulate_steps = given.gradient_accumulate_steps,
          .dynamic_max_gap = given.dynamic_max_gap,
          .lr = tuning.lr > 0.0 ? std::optional(tuning.lr) : std::nullopt,
          .minmax_lr = tuning.minmax_lr > 0.0 ? std::optional(tuning.minmax_lr) : std::nullopt,
          .momentum = given.momentum,
          .enable_minmax_tuning = given.enable_minmax_tuning,
          .enable_norm_bias_tuning = given.enable_norm_bias_tuning,
          .enable_alg_ext = tuning.enable_alg_ext,
          .enable_adam = given.enable_adam,
          .not_use_best_mse = tuning.not_use_best_mse};
}

LayerRates layer_rates(const TuneOptions& options, int bits) {
  const double steps = options.iters >= 1000 && bits <= 3 ? 2.0 : 1.0;
  const double value = options.lr.value_or(steps / static_cast<double>(options.iters));
  return {value, options.minmax_lr.value_or(value)};
}

void LinearDecay::advance(float& lr) const {
  lr *= static_cast<float>(1.0 - 1.0 / static_cast<double>(iters_ - step_));
}

}  // namespace arkit
