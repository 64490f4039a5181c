#pragma once
// 8-bit floats with a float scale per tensor, row, group or block. See README.md.

#include <arkit/sdk/scaled_scheme.h>

namespace arkit::fp8 {

class Fp8Scheme final : public sdk::ScaledScheme {
 public:
  [[nodiscard]] const SchemeInfo& info() const noexcept override;
  [[nodiscard]] std::span<const Preset> presets() const override;
  [[nodiscard]] Verdict supports(const LayerPlan& layer) const override;
  [[nodiscard]] SchemeTraits traits(const LayerQuant& quant) const override;

 protected:
  [[nodiscard]] sdk::ElementRule element_rule(const TensorQuant& quant) const override;
  [[nodiscard]] Scales scales_of(const at::Tensor& peak, const at::Tensor& global_scale, const TensorQuant& quant,
                                 at::ScalarType dtype) const override;
  [[nodiscard]] at::Tensor encode_scale(const at::Tensor& coded, const TensorQuant& quant,
                                        at::ScalarType dtype) const override;
  [[nodiscard]] at::Tensor decode_scale(const at::Tensor& stored, const at::Tensor& global_scale,
                                        const TensorQuant& quant) const override;
  [[nodiscard]] int stored_scale_bits(const TensorQuant& quant) const override;
  [[nodiscard]] bool narrow(const TensorQuant& quant) const override;
};

}  // namespace arkit::fp8
