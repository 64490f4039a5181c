#pragma once
// What number formats share of compressed-tensors' range observers (llmcompressor.md 3), chosen by
// TensorQuant.observer: every step of the arithmetic is rounded to scale_dtype, the dtype the weight is stored in, and
// scales are positive.

#include <initializer_list>
#include <string_view>

#include <ATen/core/Tensor.h>

#include <arkit/descriptors.h>

namespace arkit::sdk {

// quant.scale_dtype as a type; throws ErrorCode::unsupported for an unknown name.
[[nodiscard]] at::ScalarType arithmetic_dtype(const TensorQuant& quant);

// May `quant` have its observer, given those a format knows? No observer is always right.
[[nodiscard]] Verdict supports_observer(const TensorQuant& quant, std::initializer_list<std::string_view> known);

// A scale of 0 (a group of zeros) becomes the machine epsilon of its dtype.
[[nodiscard]] at::Tensor without_zeros(const at::Tensor& scale);

}  // namespace arkit::sdk
