#pragma once
// The scheme "gguf_k": blocks of 32 and super-blocks of 256 as GGUF files have them.

#include <arkit/scheme.h>

namespace arkit::gguf_k {

class GgufKScheme final : public Scheme {
 public:
  [[nodiscard]] const SchemeInfo& info() const noexcept override;
  [[nodiscard]] std::span<const Preset> presets() const override;
  [[nodiscard]] Verdict supports(const LayerPlan& layer) const override;
  [[nodiscard]] double bits_per_weight(const LayerPlan& layer) const override;
  [[nodiscard]] SchemeTraits traits(const LayerQuant& quant) const override;
  [[nodiscard]] std::unique_ptr<WeightTuner> tuner(const at::Tensor& weight, const TensorQuant& quant,
                                                   const TuningSetup& setup) const override;
  [[nodiscard]] at::Tensor fake_quant_act(const at::Tensor& x, const TensorQuant& quant,
                                          const at::Tensor& static_max) const override;
  [[nodiscard]] QuantizedWeight quantize_rtn(const at::Tensor& weight, const TensorQuant& quant, RtnMode mode,
                                             const at::Tensor& imatrix, int64_t imatrix_count,
                                             const at::Tensor& global_scale) const override;
  [[nodiscard]] at::Tensor dequantize(const QuantizedWeight& weight, const TensorQuant& quant,
                                      at::ScalarType dtype) const override;
};

}  // namespace arkit::gguf_k
