#pragma once
#include <ATen/core/Tensor.h>

#include <arkit/scheme.h>

namespace arkit::int_scheme {

// Rounding as compressed-tensors' observers "minmax" and "mse" have it (llmcompressor.md 3.2, 3.3, 3.7). Whole groups.
[[nodiscard]] QuantizedWeight quantize_observed(const at::Tensor& weight, const TensorQuant& quant);

}  // namespace arkit::int_scheme
