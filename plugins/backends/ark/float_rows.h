#pragma once
// Rows of the caller's tensors, float32 or bfloat16, as float32.

#include <algorithm>
#include <cstdint>

#include <arkit/sdk/backend.h>
#include <arkit/sdk/float16.h>

namespace arkit::ark {

// `count` numbers from number `at` on.
inline void to_floats(const sdk::TensorView& tensor, int64_t at, int64_t count, float* to) {
  if (tensor.type == ARKIT_FLOAT32) {
    std::copy_n(static_cast<const float*>(tensor.host) + at, count, to);
    return;
  }
  const auto* from = static_cast<const uint16_t*>(tensor.host) + at;
  for (int64_t i = 0; i < count; ++i) to[i] = sdk::bfloat16_to_float(from[i]);
}

inline void from_floats(const float* from, int64_t count, const sdk::TensorView& tensor, int64_t at) {
  if (tensor.type == ARKIT_FLOAT32) {
    std::copy_n(from, count, static_cast<float*>(tensor.host) + at);
    return;
  }
  auto* to = static_cast<uint16_t*>(tensor.host) + at;
  for (int64_t i = 0; i < count; ++i) to[i] = sdk::float_to_bfloat16(from[i]);
}

}  // namespace arkit::ark
