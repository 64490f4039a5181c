#pragma once
// ggml's rounding of a row into the block types of GGUF (docs/spec/gguf-rounding.md 2 and 3). Every formula in binary32, in the written order, without fused multiply-add: the
// same bits on every machine. No LibTorch here.

#include <cstdint>
#include <vector>

#include <arkit/sdk/gguf_blocks.h>

#include "ggml_searches.h"

namespace arkit::gguf_k {

using sdk::BlockShape;
using sdk::BlockType;
using sdk::shape_of;

// What a row becomes. A weight is, with s = d * scales[g] (or d where there are no scale codes):
//   s * code - dmin * minima[g]    types with minima; without super-blocks dmin is the minimum itself, negated
//   s * (code - 2^(bits - 1))      others
//   s * table[code]                types with levels (sdk::levels_of); nvfp4: d is that of a group, half a byte in UE4M3
struct Row {
  uint8_t* codes;   // [n]
  float* d;         // [n / block], nvfp4 [n / group]; a value of float16, of E2M1 types half a scale
  float* dmin;      // the same, types with minima
  int8_t* scales;   // [n / group], types with super-blocks
  uint8_t* minima;  // the same, types with minima
};

// Memory of one thread, kept from row to row.
class RowRounder {
 public:
  // `searches`: any of ggml_searches.h; all give the same bits.
  RowRounder(BlockType type, const Searches& searches) : type_(type), searches_(searches) {}

  // `n` is a multiple of the type's block. `importance`: of each of the n columns, none negative; null = none. Weights of
  // nvfp4 come divided by the scale of their tensor.
  void round(const float* x, int64_t n, const float* importance, const Row& to);

 private:
  void put_blocks(BlockShape shape, const Row& to) const;
  void put_levels(const float* x, int64_t n, const float* importance, const Row& to);

  BlockType type_;
  const Searches& searches_;
  std::vector<float> scales_, minima_, sums_, spread_;
  std::vector<int32_t> bytes_;
};

}  // namespace arkit::gguf_k
