#pragma once
// Straight-through estimators and group layout for schemes written with LibTorch operators.

#include <ATen/core/Tensor.h>

namespace arkit::sdk {

// Forward round half to even, derivative 1.
[[nodiscard]] at::Tensor round_ste(const at::Tensor& x);

// Forward `value`, derivative that of `x`: value and x have the same shape and dtype.
[[nodiscard]] at::Tensor ste(const at::Tensor& x, const at::Tensor& value);

// [..., in] -> [rows * ceil(in / group), group], every row padded at its end with `pad`; group_size -1 or > in: [rows,
// in] (docs/spec/notation.md 2). from_groups is the inverse: drops the padding and restores `sizes`. Both are
// differentiable.
[[nodiscard]] at::Tensor to_groups(const at::Tensor& x, int64_t group_size, double pad = 0);
[[nodiscard]] at::Tensor from_groups(const at::Tensor& grouped, at::IntArrayRef sizes);

}  // namespace arkit::sdk
