#pragma once
// OCP microscaling integers: sign-magnitude fixed-point elements, E8M0 scales. See README.md.

#include <arkit/sdk/mx_scheme.h>

namespace arkit::mx_int {

class MxIntScheme final : public sdk::MxScheme {
 public:
  [[nodiscard]] const SchemeInfo& info() const noexcept override;
  [[nodiscard]] std::span<const Preset> presets() const override;

 protected:
  [[nodiscard]] Verdict supports_elements(const TensorQuant& quant, std::string_view what) const override;
  [[nodiscard]] sdk::ElementRule element_rule(const TensorQuant& quant) const override;
};

}  // namespace arkit::mx_int
