#pragma once
// Weights with NaN or infinity are refused by name before anything is computed from them.

#include <string_view>

#include <ATen/core/Tensor.h>

#include <arkit/export.h>

namespace arkit::io {

// Throws ErrorCode::input naming `name`, the position and the value of the first NaN or infinity of a floating-point
// tensor on the CPU. Integer and float8 tensors pass without a look. `first_row`: of the tensor so named, where these are
// some of its rows.
ARKIT_INTERNAL void check_finite(const at::Tensor& tensor, std::string_view name, int64_t first_row = 0);

// The question alone.
[[nodiscard]] ARKIT_INTERNAL bool is_finite(const at::Tensor& tensor);

}  // namespace arkit::io
