#pragma once
#include <ATen/core/Tensor.h>

#include <arkit/scheme.h>

namespace arkit::int_scheme {

// Rounding as compressed-tensors' observers "minmax" and "mse" have it (docs/spec/observers.md 2 and 4). Whole groups.
[[nodiscard]] QuantizedWeight quantize_observed(const at::Tensor& weight, const TensorQuant& quant);

// Activations as compressed-tensors computes them (TensorQuant.observer kCompressedTensors), in the dtype of x: every
// group of every token has its own scale, max / (2^bits - 1) * 2, or all have that of static_max, f32 [1], where
// activations are static. Differentiable in x, with derivative 1.
[[nodiscard]] at::Tensor fake_quant_observed_activation(const at::Tensor& x, const TensorQuant& quant,
                                                        const at::Tensor& static_max);

}  // namespace arkit::int_scheme
