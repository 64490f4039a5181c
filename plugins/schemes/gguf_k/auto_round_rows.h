#pragma once
// AutoRound's rounding of a row into the block types (docs/spec/gguf-rounding.md 4): its searches, its codes of scales,
// its packing. No LibTorch here.

#include <vector>

#include "ggml_rows.h"

namespace arkit::gguf_k {

// As RowRounder, for types with sdk::has_auto_round_search.
class AutoRoundRounder {
 public:
  AutoRoundRounder(BlockType type, const Searches& searches) : type_(type), searches_(searches) {}

  void round(const float* x, int64_t n, const float* importance, const Row& to);

 private:
  void round_blocks(const float* x, int64_t n, const float* importance, const Row& to);
  void find_scales(const float* x, int64_t n, const float* importance, uint8_t* codes);
  const float* repaired(const float* x, int64_t n, const float* importance);

  BlockType type_;
  const Searches& searches_;
  std::vector<float> scales_, minima_, sums_, importance_, trials_;
};

}  // namespace arkit::gguf_k
