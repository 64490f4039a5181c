#pragma once
// What number formats share of compressed-tensors' range observers (docs/spec/observers.md 1 to 4), chosen by
// TensorQuant.observer: every step of the arithmetic is rounded to scale_dtype, the dtype the weight is stored in, and
// scales are positive.

#include <initializer_list>
#include <string_view>

#include <ATen/core/Tensor.h>

#include <arkit/descriptors.h>

namespace arkit::sdk {

// TensorQuant.observer of activations that compressed-tensors quantizes at run time: power-of-two scales of MX types
// round up from a mantissa of 1.75, integers divide by half their range (127.5 for 8 bits) instead of their least code.
inline constexpr std::string_view kCompressedTensors = "compressed-tensors";

// TensorQuant.observer "mse": ranges shrink by steps of 1 / kMseGrid to where the sum of |y - x|^kMseNorm of a group is
// smallest; the search ends when no group of the weight has gained for kMsePatience steps (docs/spec/observers.md 4).
inline constexpr std::string_view kMse = "mse";
inline constexpr int kMseSteps = 20, kMseGrid = 100, kMsePatience = 5;
inline constexpr double kMseNorm = 2.4;

// TensorQuant.observer of integer weights whose scale another rule gives, with the data type's own arithmetic:
// "neuqi" = scale and zero point of the least weighted error, found on a grid (docs/spec/rtn.md 6), "gptq" = symmetric
// scales of 2^bits - 1 steps (int_sym_gptq, docs/spec/integers.md 5), "power_of_two" = microscaling's (mx_uint).
inline constexpr std::string_view kNeuqi = "neuqi", kGptq = "gptq", kPowerOfTwo = "power_of_two";

// Is the observer one of compressed-tensors', "minmax" or "mse", which compute in scale_dtype?
[[nodiscard]] bool is_range_observer(const TensorQuant& quant);

// quant.scale_dtype as a type; throws ErrorCode::unsupported for an unknown name.
[[nodiscard]] at::ScalarType arithmetic_dtype(const TensorQuant& quant);

// May `quant` have its observer, given those a format knows? No observer is always right.
[[nodiscard]] Verdict supports_observer(const TensorQuant& quant, std::initializer_list<std::string_view> known);

// A scale of 0 (a group of zeros) becomes the machine epsilon of its dtype.
[[nodiscard]] at::Tensor without_zeros(const at::Tensor& scale);

}  // namespace arkit::sdk
