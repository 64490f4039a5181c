#pragma once
// OCP microscaling floats: E2M1, E2M3, E3M2, E4M3 or E5M2 elements, E8M0 scales. See README.md.

#include <arkit/sdk/mx_scheme.h>

namespace arkit::mx_fp {

class MxFpScheme final : public sdk::MxScheme {
 public:
  [[nodiscard]] const SchemeInfo& info() const noexcept override;
  [[nodiscard]] std::span<const Preset> presets() const override;

 protected:
  [[nodiscard]] Verdict supports_elements(const TensorQuant& quant, std::string_view what) const override;
  [[nodiscard]] sdk::ElementRule element_rule(const TensorQuant& quant) const override;
  [[nodiscard]] float ceil_limit(const TensorQuant& quant) const override;
};

}  // namespace arkit::mx_fp
