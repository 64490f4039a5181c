#pragma once
#include <ATen/core/Tensor.h>

#include <arkit/descriptors.h>

namespace arkit::int_scheme {

// algorithms.md 2.3: every group of every token is quantized with its own range, in the dtype of x. Differentiable in
// x: straight through the rounding, and through the range as autograd does it.
[[nodiscard]] at::Tensor fake_quant_activation(const at::Tensor& x, const TensorQuant& quant);

}  // namespace arkit::int_scheme
