#pragma once
// Default fake quantization for schemes without fused kernels: write the formula once with differentiable LibTorch
// operators and both passes follow. It costs a weight-shaped autograd graph a step; fused kernels (plugins/schemes/int)
// do not.

#include <arkit/sdk/signround_scheme.h>

namespace arkit::sdk {

class AutogradScheme : public SignRoundScheme {
 public:
  void fake_quant_weight(const at::Tensor& weight, const WeightTuning& tuning, const TensorQuant& quant,
                         at::Tensor& out) const final;
  void fake_quant_weight_backward(const at::Tensor& weight, const WeightTuning& tuning, const TensorQuant& quant,
                                  const at::Tensor& grad_out, WeightGradient& gradient) const final;

 protected:
  // dequantize(quantize(weight)) in the shape of the weight, differentiable in tuning.v, min_scale and max_scale (see
  // ste.h). Returned in the precision it was computed in; the caller casts it.
  [[nodiscard]] virtual at::Tensor formula(const at::Tensor& weight, const WeightTuning& tuning,
                                           const TensorQuant& quant) const = 0;
};

}  // namespace arkit::sdk
