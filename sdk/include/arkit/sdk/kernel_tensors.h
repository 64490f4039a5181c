#pragma once
// Tensors as the element kernels take them.

#include <cstdint>

#include <ATen/core/Tensor.h>

#include <arkit/sdk/kernels.h>

namespace arkit::sdk {

// f32, bf16 or f16; `what` names the tensor where it is none of them (an internal error).
[[nodiscard]] Dtype dtype_of(const at::Tensor& tensor, const char* what);

// Null for an undefined tensor; else its data, after a check that it is contiguous f32 with `numel` elements.
[[nodiscard]] const float* f32_data(const at::Tensor& tensor, int64_t numel, const char* what);

}  // namespace arkit::sdk
