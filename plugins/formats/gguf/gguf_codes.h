#pragma once
// What the blocks of GGUF hold: codes of a few bits and what a group of them is worth (docs/spec/gguf-reading.md 3). No
// LibTorch here.

#include <cstddef>
#include <cstdint>

#include "gguf_types.h"

namespace arkit::gguf {

// A weight is scale * (code - zero()), or scale * code + offset where groups have offsets.
struct CodeLayout {
  int bits = 0;
  int group_size = 0;  // divides the type's block size
  bool has_offsets = false;

  [[nodiscard]] int zero() const noexcept { return has_offsets ? 0 : 1 << (bits - 1); }
};

// All zeros for types without codes: F32, F16, BF16. The tables of IQ4_NL, IQ4_XS, MXFP4 and NVFP4 have values of 8 bits.
[[nodiscard]] CodeLayout code_layout(TensorType type) noexcept;

inline constexpr int kMostBlock = 256;  // elements of the longest block
inline constexpr int kMostGroups = 16;  // of a block

// What one block holds, as encode_blocks() takes it (gguf_encode.h): codes as the type stores them, those of IQ4 types
// being places in the table.
struct BlockParts {
  uint8_t* codes;
  float *d, *dmin;  // dmin: of types with offsets; Q4_1 and Q5_1: the block's m with the sign changed; NVFP4: d is 1
  int8_t* scales;   // super-blocks: [groups]; NVFP4: bytes in UE4M3
  uint8_t* minima;  // the same, of types with offsets
};
void decode_block(TensorType type, const std::byte* block, const BlockParts& to) noexcept;

// `elements` is a multiple of the type's block size; `blocks` need no alignment. Writes `elements` codes and, for each
// group, its scale and, where has_offsets, its offset; both are exact. Nothing for types without codes.
void decode(TensorType type, const std::byte* blocks, int64_t elements, uint8_t* codes, float* scales,
            float* offsets) noexcept;

}  // namespace arkit::gguf
