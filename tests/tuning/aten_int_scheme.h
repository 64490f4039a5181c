#pragma once
// The int scheme of docs/spec/integers.md 1 and 2 written with differentiable ATen operators: slow, obvious, and the
// ground truth of the fused path. Every gradient comes from autograd.

#include <arkit/sdk/signround_scheme.h>

namespace arkit::test {

class AtenIntScheme final : public sdk::SignRoundScheme {
 public:
  const SchemeInfo& info() const noexcept override;
  std::span<const Preset> presets() const override { return {}; }
  Verdict supports(const LayerPlan&) const override { return Verdict::yes(); }
  double bits_per_weight(const LayerPlan& layer) const override { return layer.quant.weight.bits; }
  SchemeTraits traits(const LayerQuant& quant) const override {
    const bool searched = quant.weight.sym;
    return {.searches = searched,
            .plain_by_default = quant.weight.bits >= 8 && quant.act.bits >= 8,
            .imatrix_when_tuned = searched && quant.act.bits > 4,
            .outlier_free_loss = sdk::leaves_out_outliers(quant)};
  }
  sdk::WeightTuning begin_tuning(const at::Tensor& weight, const TensorQuant& quant,
                                 const TuningSetup& setup) const override;
  void fake_quant_weight(const at::Tensor& weight, const sdk::WeightTuning& tuning, const TensorQuant& quant,
                         at::Tensor& out) const override;
  void fake_quant_weight_backward(const at::Tensor& weight, const sdk::WeightTuning& tuning, const TensorQuant& quant,
                                  const at::Tensor& grad_out, sdk::WeightGradient& gradient) const override;
  at::Tensor fake_quant_act(const at::Tensor& x, const TensorQuant& quant, const at::Tensor& static_max) const override;
  QuantizedWeight quantize_tuned(const at::Tensor& weight, const sdk::WeightTuning& tuning,
                                 const TensorQuant& quant) const override;
  QuantizedWeight quantize_rtn(const at::Tensor& weight, const TensorQuant& quant, RtnMode mode,
                               const at::Tensor& imatrix, int64_t imatrix_count,
                               const at::Tensor& global_scale) const override;
  at::Tensor dequantize(const QuantizedWeight& weight, const TensorQuant& quant, at::ScalarType dtype) const override;

  mutable at::Tensor last_imatrix;  // what quantize_rtn or begin_tuning was given, for tests
  mutable RtnMode last_mode = RtnMode::plain;
};

}  // namespace arkit::test
