#pragma once
// Tensor types of GGUF files: ids, names and block sizes (docs/spec/gguf-reading.md 2). No LibTorch here.

#include <cstdint>
#include <string_view>

namespace arkit::gguf {

enum class TensorType : uint32_t {
  f32 = 0,
  f16 = 1,
  q4_0 = 2,
  q4_1 = 3,
  q5_0 = 6,
  q5_1 = 7,
  q8_0 = 8,
  q2_k = 10,
  q3_k = 11,
  q4_k = 12,
  q5_k = 13,
  q6_k = 14,
  iq4_nl = 20,
  iq4_xs = 23,
  bf16 = 30,
  tq1_0 = 34,
  tq2_0 = 35,
  mxfp4 = 39,
  nvfp4 = 40,
};

struct TypeInfo {
  TensorType type;
  std::string_view name;  // "Q4_K"
  int64_t block_size;     // elements a block
  int64_t block_bytes;
};

// Null for an id arkit does not read.
[[nodiscard]] const TypeInfo* find_type(uint32_t id) noexcept;

}  // namespace arkit::gguf
