#pragma once
// arkit's descriptors and tensors as the door has them. What is described outlives its description.

#include <array>
#include <deque>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <arkit/backend_c.h>
#include <arkit/descriptors.h>
#include <arkit/inference_backend.h>

namespace arkit::backend_door {

// 0 = the door has no such type, Undefined = arkit has not.
[[nodiscard]] ArkitType type_of(at::ScalarType type) noexcept;
[[nodiscard]] at::ScalarType scalar_type(ArkitType type) noexcept;

// A contiguous tensor of this process's memory.
[[nodiscard]] ArkitTensor describe(const at::Tensor& tensor);

// Layers that are run together.
class UnitDescription {
 public:
  explicit UnitDescription(std::span<const LinearSpec* const> layers);
  // A block; throws ErrorCode::unsupported for one that the door cannot describe.
  explicit UnitDescription(const BlockSpec& block);
  UnitDescription(const UnitDescription&) = delete;
  UnitDescription& operator=(const UnitDescription&) = delete;
  [[nodiscard]] const ArkitUnit& unit() const noexcept { return unit_; }

 private:
  std::deque<ArkitQuant> quants_;
  std::deque<ArkitLinear> linears_;
  std::vector<const ArkitLinear*> pointers_;
  std::vector<ArkitRole> roles_;
  ArkitBlock block_{};
  ArkitUnit unit_{};
};

// Names of the layout's norms by ARKIT_NORM_...; empty = none.
[[nodiscard]] std::array<const std::string*, ARKIT_NORM_COUNT> norm_names(const Norms& norms);

}  // namespace arkit::backend_door
