#pragma once
// Integers in super-blocks, as K-quants have them, reduced to what tuning and rounding see: groups
// of 4 with 4-bit scales and minima, super-blocks of 4 groups with a step for each of both. What is trained are the two
// steps: neither a rounding offset nor the range of a group.

#include <arkit/scheme.h>

namespace arkit::test {

class SuperBlockScheme final : public Scheme {
 public:
  static constexpr int64_t kGroup = 4, kSuper = 16;

  const SchemeInfo& info() const noexcept override;
  std::span<const Preset> presets() const override { return {}; }
  Verdict supports(const LayerPlan&) const override { return Verdict::yes(); }
  double bits_per_weight(const LayerPlan& layer) const override { return layer.quant.weight.bits + 4.0; }
  SchemeTraits traits(const LayerQuant&) const override { return {.integer_grid = true}; }
  std::unique_ptr<WeightTuner> tuner(const at::Tensor& weight, const TensorQuant& quant,
                                     const TuningSetup& setup) const override;
  at::Tensor fake_quant_act(const at::Tensor& x, const TensorQuant&, const at::Tensor&) const override { return x; }
  QuantizedWeight quantize_rtn(const at::Tensor& weight, const TensorQuant& quant, RtnMode mode,
                               const at::Tensor& imatrix, int64_t count, const at::Tensor& scale) const override;
  at::Tensor dequantize(const QuantizedWeight& weight, const TensorQuant& quant, at::ScalarType dtype) const override;
};

}  // namespace arkit::test
