#pragma once

#include <cstdint>

#include <arkit/model_source.h>

namespace arkit {

// Bytes of all tensors as their files hold them.
[[nodiscard]] inline int64_t stored_bytes(const WeightSource& weights) {
  int64_t bytes = 0;
  for (const TensorInfo& tensor : weights.tensors()) bytes += tensor.stored_bytes;
  return bytes;
}

}  // namespace arkit
