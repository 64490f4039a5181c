#pragma once
// Codes and scales to the blocks of GGUF: the inverse of gguf_codes.h (docs/spec/gguf-reading.md 3). No LibTorch here.

#include <cstddef>
#include <cstdint>

#include "gguf_types.h"

namespace arkit::gguf {

// What one block holds. Scales and minima are those of the type's groups, as signed and unsigned codes.
struct BlockCodes {
  const uint8_t* codes;  // as the type stores them: Q3_K 0..7, Q6_K 0..63, Q8_0 128 more than the value
  float d, dmin;  // values of float16; Q4_1 and Q5_1: dmin is the block's m with the sign changed; MXFP4: a power of 2
  const int8_t* scales;   // super-blocks; NVFP4: bytes in UE4M3, and no d
  const uint8_t* minima;  // Q2_K, Q4_K, Q5_K
};

// Blocks that lie behind each other, as do their codes, scales and minima.
struct BlockRun {
  TensorType type;
  BlockCodes first;
  const float *d, *dmin;  // of each, in the place of first.d and first.dmin; null = the type has none
  int64_t count;
  int block, groups, block_bytes;  // of one: weights, scales, bytes
};

// Writes block_bytes of each. Nothing for types without codes.
void encode_blocks(const BlockRun& run, std::byte* to) noexcept;

}  // namespace arkit::gguf
