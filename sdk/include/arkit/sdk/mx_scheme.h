#pragma once
// Base of the OCP microscaling formats: a power-of-two scale a group, stored as E8M0 (docs/spec/floats.md 3).

#include <arkit/sdk/scaled_scheme.h>

namespace arkit::sdk {

class MxScheme : public ScaledScheme {
 public:
  [[nodiscard]] Verdict supports(const LayerPlan& layer) const override;

 protected:
  // Is `quant` a format of this scheme? Bits and data type only.
  [[nodiscard]] virtual Verdict supports_elements(const TensorQuant& quant, std::string_view what) const = 0;
  // A scale that saturates nothing: ceil(log2(peak / this)); 0 = the floor rule.
  [[nodiscard]] virtual float ceil_limit(const TensorQuant& quant) const;

  [[nodiscard]] Scales scales_of(const at::Tensor& peak, const at::Tensor& global_scale, const TensorQuant& quant,
                                 at::ScalarType dtype) const override;
  [[nodiscard]] at::Tensor encode_scale(const at::Tensor& coded, const TensorQuant& quant,
                                        at::ScalarType dtype) const override;
  [[nodiscard]] at::Tensor decode_scale(const at::Tensor& stored, const at::Tensor& global_scale,
                                        const TensorQuant& quant) const override;
  [[nodiscard]] int stored_scale_bits(const TensorQuant& quant) const override;
  [[nodiscard]] std::span<const float> multipliers(const TensorQuant& quant) const override;
};

// A preset of weights in groups, activations in groups of the same size.
[[nodiscard]] Preset microscaling_preset(std::string name, std::string summary, std::string_view data_type, int bits,
                                         int64_t group_size, std::string_view act_data_type);

// What holds for every format with groups along rows that must be whole; `what` opens the message.
[[nodiscard]] Verdict supports_whole_groups(const TensorQuant& quant, int64_t in_features, std::string_view what);

}  // namespace arkit::sdk
