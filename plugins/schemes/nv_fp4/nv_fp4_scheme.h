#pragma once
// E2M1 elements with E4M3 scales under a global scale (NVFP4), or with unsigned E5M3 scales alone. See README.md.

#include <arkit/sdk/scaled_scheme.h>

namespace arkit::nv_fp4 {

class NvFp4Scheme final : public sdk::ScaledScheme {
 public:
  [[nodiscard]] const SchemeInfo& info() const noexcept override;
  [[nodiscard]] std::span<const Preset> presets() const override;
  [[nodiscard]] Verdict supports(const LayerPlan& layer) const override;
  // G = 2688 / max |weight|, f32 [1]; 0 for a weight of zeros. None for E5M3 scales: throws ErrorCode::input for
  // weights beyond the largest of them.
  [[nodiscard]] at::Tensor global_scale(const at::Tensor& weight, const TensorQuant& quant) const override;
  // The smallest: that of the layer with the largest weight (docs/spec/floats.md 7).
  [[nodiscard]] at::Tensor merge_global_scales(std::span<const at::Tensor> scales) const override;

  [[nodiscard]] sdk::WeightTuning begin_tuning(const at::Tensor& weight, const TensorQuant& quant,
                                               const TuningSetup& setup) const override;

  [[nodiscard]] QuantizedWeight quantize_rtn(const at::Tensor& weight, const TensorQuant& quant, RtnMode mode,
                                             const at::Tensor& imatrix, int64_t imatrix_count,
                                             const at::Tensor& global_scale) const override;

 protected:
  [[nodiscard]] sdk::ElementRule element_rule(const TensorQuant& quant) const override;
  [[nodiscard]] Scales scales_of(const at::Tensor& peak, const at::Tensor& global_scale, const TensorQuant& quant,
                                 at::ScalarType dtype) const override;
  [[nodiscard]] at::Tensor encode_scale(const at::Tensor& coded, const TensorQuant& quant,
                                        at::ScalarType dtype) const override;
  [[nodiscard]] at::Tensor decode_scale(const at::Tensor& stored, const at::Tensor& global_scale,
                                        const TensorQuant& quant) const override;
  [[nodiscard]] int stored_scale_bits(const TensorQuant& quant) const override;
  [[nodiscard]] std::span<const float> multipliers(const TensorQuant& quant) const override;
  [[nodiscard]] at::Tensor act_global_scale(const at::Tensor& x, const at::Tensor& static_max,
                                            const TensorQuant& quant) const override;
};

}  // namespace arkit::nv_fp4
