#pragma once
// arkit's descriptors and tensors as the door has them. What is described outlives its description.

#include <deque>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include <arkit/backend_c.h>
#include <arkit/descriptors.h>

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
  UnitDescription(const UnitDescription&) = delete;
  UnitDescription& operator=(const UnitDescription&) = delete;
  [[nodiscard]] const ArkitUnit& unit() const noexcept { return unit_; }

 private:
  std::deque<ArkitQuant> quants_;
  std::deque<ArkitLinear> linears_;
  std::vector<const ArkitLinear*> pointers_;
  ArkitUnit unit_{};
};

}  // namespace arkit::backend_door
