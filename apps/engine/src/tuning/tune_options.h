#pragma once
// Options of SignRound with every default resolved (docs/spec/signround.md 4 and 5), and the learning-rate rules.

#include <cstdint>
#include <optional>

#include <arkit/export.h>

namespace arkit {

struct ResolvedTuning;

struct TuneOptions {
  int64_t iters = 200;
  int64_t batch_size = 8;
  int64_t gradient_accumulate_steps = 1;
  int64_t dynamic_max_gap = -1;         // > 0: stop after so many iterations without a better loss
  std::optional<double> lr, minmax_lr;  // unset = default_lr
  double momentum = 0.0;
  bool enable_minmax_tuning = true;
  bool enable_norm_bias_tuning = false;
  bool enable_alg_ext = false;
  bool enable_adam = false;
  bool not_use_best_mse = false;
};

// Learning rate of one layer's rounding offsets and of its min/max scales.
struct LayerRates {
  double value = 0.0, minmax = 0.0;
};

// The options of a run, of which recipe and user have been asked.
[[nodiscard]] ARKIT_INTERNAL TuneOptions tune_options(const ResolvedTuning& tuning);

// 2 / iters for weights of at most 3 bits in runs of at least 1000 iterations, else 1 / iters; user values win.
[[nodiscard]] ARKIT_EXPORT LayerRates layer_rates(const TuneOptions& options, int bits);

// The linear decay of every learning rate to 0, lr_t = lr_0 (1 - t / iters), in the reference's float32 recurrence
// lr_{t+1} = lr_t (1 - 1 / (iters - t)), so that tuned parameters agree to the last bit.
class ARKIT_EXPORT LinearDecay {
 public:
  explicit LinearDecay(int64_t iters) : iters_(iters) {}
  void advance(float& lr) const;  // call for every rate, then next()
  void next() { ++step_; }

 private:
  int64_t iters_, step_ = 0;
};

}  // namespace arkit
