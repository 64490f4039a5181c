#pragma once
// Integer weights and activations with one scale per group (docs/spec/integers.md 1 to 5, docs/spec/rtn.md 4). See
// README.md.

#include <arkit/sdk/signround_scheme.h>

namespace arkit::int_scheme {

using sdk::WeightGradient;
using sdk::WeightTuning;

class IntScheme final : public sdk::SignRoundScheme {
 public:
  [[nodiscard]] const SchemeInfo& info() const noexcept override;
  [[nodiscard]] std::span<const Preset> presets() const override;
  [[nodiscard]] Verdict supports(const LayerPlan& layer) const override;
  [[nodiscard]] double bits_per_weight(const LayerPlan& layer) const override;
  [[nodiscard]] SchemeTraits traits(const LayerQuant& quant) const override;
  [[nodiscard]] WeightTuning begin_tuning(const at::Tensor& weight, const TensorQuant& quant,
                                          const TuningSetup& setup) const override;
  void fake_quant_weight(const at::Tensor& weight, const WeightTuning& tuning, const TensorQuant& quant,
                         at::Tensor& out) const override;
  void fake_quant_weight_backward(const at::Tensor& weight, const WeightTuning& tuning, const TensorQuant& quant,
                                  const at::Tensor& grad_out, WeightGradient& gradient) const override;
  [[nodiscard]] at::Tensor fake_quant_act(const at::Tensor& x, const TensorQuant& quant,
                                          const at::Tensor& static_max) const override;
  [[nodiscard]] QuantizedWeight quantize_tuned(const at::Tensor& weight, const WeightTuning& tuning,
                                               const TensorQuant& quant) const override;
  [[nodiscard]] QuantizedWeight quantize_rtn(const at::Tensor& weight, const TensorQuant& quant, RtnMode mode,
                                             const at::Tensor& imatrix, int64_t imatrix_count,
                                             const at::Tensor& global_scale) const override;
  [[nodiscard]] at::Tensor dequantize(const QuantizedWeight& weight, const TensorQuant& quant,
                                      at::ScalarType dtype) const override;
};

}  // namespace arkit::int_scheme
