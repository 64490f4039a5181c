#include "tuning/tune_options.h"

namespace arkit {

TuneOptions resolve_tune_options(const TuningOptions& options) {
  constexpr int64_t kIters = 200, kBatchSize = 8;
  const int64_t iters = options.iters.value_or(kIters);
  return {.iters = iters < 0 ? kIters : iters,
          .batch_size = options.batch_size.value_or(kBatchSize),
          .gradient_accumulate_steps = options.gradient_accumulate_steps,
          .dynamic_max_gap = options.dynamic_max_gap,
          .lr = options.lr,
          .minmax_lr = options.minmax_lr,
          .momentum = options.momentum,
          .enable_minmax_tuning = options.enable_minmax_tuning,
          .enable_norm_bias_tuning = options.enable_norm_bias_tuning,
          .enable_alg_ext = options.enable_alg_ext,
          .enable_adam = options.enable_adam,
          .not_use_best_mse = options.not_use_best_mse};
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
