#pragma once
// Group arithmetic shared by schemes and exporters (docs/spec/notation.md 2).

#include <cstdint>

#include <ATen/core/Tensor.h>

#include <arkit/descriptors.h>

namespace arkit::sdk {

// How one weight row is cut into groups.
struct GroupShape {
  int64_t group = 0;    // elements in a full group
  int64_t per_row = 0;  // groups in one row; the last may be short
  int64_t out = 0, in = 0;

  [[nodiscard]] int64_t total() const noexcept { return out * per_row; }
  [[nodiscard]] bool ragged() const noexcept { return in % group != 0; }
};

// group_size > 0: groups along in_features, one per row when group_size > in; -1: one per row. Per-tensor (0) is not
// row-wise and is refused with ErrorCode::internal.
[[nodiscard]] GroupShape group_shape(int64_t out_features, int64_t in_features, int64_t group_size);

}  // namespace arkit::sdk
