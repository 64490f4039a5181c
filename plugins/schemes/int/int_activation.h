#pragma once
#include <ATen/core/Tensor.h>

#include <arkit/descriptors.h>

namespace arkit::int_scheme {

// docs/spec/integers.md 4: every group of every token is quantized with its own range, in the dtype of x.
// Differentiable in x: straight through the rounding, and through the range as autograd does it.
[[nodiscard]] at::Tensor fake_quant_activation(const at::Tensor& x, const TensorQuant& quant);

// One scale for everything, static_max / 2^(bits - 1) rounded to the scale's dtype; values beyond the calibrated
// maximum saturate. Differentiable in x (straight through the rounding) and in static_max, f32 [1]. The reference
// computes a dynamic range here and exports a scale of 1e-5 (docs/spec/integers.md 4).
[[nodiscard]] at::Tensor fake_quant_static_activation(const at::Tensor& x, const TensorQuant& quant,
                                                      const at::Tensor& static_max);

}  // namespace arkit::int_scheme
