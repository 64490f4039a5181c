#pragma once
// Base of the schemes that tune as SignRound does (docs/spec/signround.md 3): a rounding offset a weight and two factors
// that narrow the range of a group. A derived class writes the formula over WeightTuning; this one makes it a tuner.

#include <memory>

#include <arkit/scheme.h>

namespace arkit::sdk {

// What SignRound trains for one weight, and the constants the formula needs. An undefined tensor means "not tuned" /
// "not used". "Grouped" is [out * n_groups, group] with a zero-padded last group per row.
struct WeightTuning {
  at::Tensor v;           // f32, grouped: rounding offset, starts at 0
  at::Tensor min_scale;   // f32 [n_groups_total], in [0, scale_limit], starts at 1
  at::Tensor max_scale;   // f32 [n_groups_total], in [0, scale_limit], starts at 1
  at::Tensor weight_min;  // [n_groups_total] in the weight's dtype: min(group, 0)
  at::Tensor weight_max;  // [n_groups_total] in the weight's dtype: max(group, 0)
  // f32 [n_groups_total]: scale (int) or multiplier (mx, nv) of the initial search (enable_alg_ext).
  at::Tensor init_scale;
  at::Tensor global_scale;   // f32 scalar shared by fused layers (NVFP4)
  float scale_limit = 1.0F;  // upper bound of min_scale and max_scale: 1 (SignRound), 2 (enable_alg_ext)
};

// Gradients in the shapes of WeightTuning's trained tensors; undefined where those are.
struct WeightGradient {
  at::Tensor v, min_scale, max_scale;
};

// Does plain rounding of a row look at no other row but those of its block? One scale for a whole tensor does, and so
// do observers that search.
[[nodiscard]] bool has_independent_rows(const TensorQuant& weight);

// docs/spec/signround.md 10: formats of few bits whose ranges are symmetric.
[[nodiscard]] bool leaves_out_outliers(const LayerQuant& quant);

class SignRoundScheme : public Scheme {
 public:
  [[nodiscard]] std::unique_ptr<WeightTuner> tuner(const at::Tensor& weight, const TensorQuant& quant,
                                                   const TuningSetup& setup) const final;

  [[nodiscard]] virtual WeightTuning begin_tuning(const at::Tensor& weight, const TensorQuant& quant,
                                                  const TuningSetup& setup) const = 0;

  // out <- dequantize(quantize(weight)) under `tuning`, as WeightTuner::fake_quant. `tuning` is within its bounds.
  virtual void fake_quant_weight(const at::Tensor& weight, const WeightTuning& tuning, const TensorQuant& quant,
                                 at::Tensor& out) const = 0;

  // Adds d loss / d trained tensor to `gradient`; allocates undefined members on first use and keeps them.
  virtual void fake_quant_weight_backward(const at::Tensor& weight, const WeightTuning& tuning,
                                          const TensorQuant& quant, const at::Tensor& grad_out,
                                          WeightGradient& gradient) const = 0;

  [[nodiscard]] virtual QuantizedWeight quantize_tuned(const at::Tensor& weight, const WeightTuning& tuning,
                                                       const TensorQuant& quant) const = 0;
};

}  // namespace arkit::sdk
