#pragma once
// ggml's rounding of a row into the block types of GGUF, one number after the other: what the vectorized kernels are held
// to (docs/spec/gguf-rounding.md 2 and 3). Every formula in binary32, in the written order, without fused multiply-add: the
// same bits on every machine. No LibTorch here.

#include <cstdint>

namespace arkit::gguf_k {

// clang-format off
enum class BlockType { q4_0, q4_1, q5_0, q5_1, q8_0, iq4_nl, q2_k, q3_k, q4_k, q5_k, q6_k, iq4_xs };
// clang-format on

struct BlockShape {
  int bits;        // of a code
  int group;       // weights that share a scale
  int block;       // weights that share a super-scale; = group where there is none
  bool minima;     // weight = scale * code - minimum, else scale * (code - 2^(bits - 1))
  int scale_bits;  // of the scale and minimum codes of super-blocks; 0 = none
};
[[nodiscard]] constexpr BlockShape shape_of(BlockType type) noexcept {
  switch (type) {
    case BlockType::q4_0:
      return {4, 32, 32, false, 0};
    case BlockType::q4_1:
      return {4, 32, 32, true, 0};
    case BlockType::q5_0:
      return {5, 32, 32, false, 0};
    case BlockType::q5_1:
      return {5, 32, 32, true, 0};
    case BlockType::q8_0:
      return {8, 32, 32, false, 0};
    case BlockType::iq4_nl:
      return {4, 32, 32, false, 0};
    case BlockType::q2_k:
      return {2, 16, 256, true, 4};
    case BlockType::q3_k:
      return {3, 16, 256, false, 6};
    case BlockType::q4_k:
      return {4, 32, 256, true, 6};
    case BlockType::q5_k:
      return {5, 32, 256, true, 6};
    case BlockType::q6_k:
      return {6, 16, 256, false, 8};
    case BlockType::iq4_xs:
      return {4, 32, 256, false, 6};
  }
  return {};
}

// Are codes places in a table of sixteen values?
[[nodiscard]] constexpr bool has_table(BlockType type) noexcept {
  return type == BlockType::iq4_nl || type == BlockType::iq4_xs;
}

// What a row becomes. A weight is, with s = d * scales[g] (or d where there are no scale codes):
//   s * code - dmin * minima[g]    types with minima; without super-blocks dmin is the minimum itself, negated
//   s * (code - 2^(bits - 1))      others
//   s * table[code]                iq4_nl and iq4_xs
struct Row {
  uint8_t* codes;   // [n]
  float* d;         // [n / block], a value of float16
  float* dmin;      // the same, types with minima
  int8_t* scales;   // [n / group], types with super-blocks
  uint8_t* minima;  // the same, types with minima
};

// `n` is a multiple of the type's block. `importance`: of each of the n columns, none negative; null = none.
void quantize_ref(BlockType type, const float* x, int64_t n, const float* importance, const Row& to);

}  // namespace arkit::gguf_k
