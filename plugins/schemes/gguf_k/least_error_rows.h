#pragma once
// ggml's and AutoRound's rounding of a row, and of each block the one that loses less (docs/spec/gguf-rounding.md 5). No
// LibTorch here.

#include <cstdint>
#include <vector>

#include "auto_round_rows.h"
#include "ggml_rows.h"

namespace arkit::gguf_k {

// As RowRounder, for types that both search for with an importance: knows_both().
class LeastErrorRounder {
 public:
  [[nodiscard]] static bool knows_both(BlockType type) noexcept;

  LeastErrorRounder(BlockType type, const Searches& searches)
      : shape_(shape_of(type)), ggml_(type, searches), auto_round_(type, searches) {}

  // Blocks are compared by sum importance (x - value)^2; where they are even, or there is no importance, ggml's stay.
  void round(const float* x, int64_t n, const float* importance, const Row& to);

 private:
  [[nodiscard]] double error(const float* x, const float* importance, const Row& row, int64_t block);

  BlockShape shape_;
  RowRounder ggml_;
  AutoRoundRounder auto_round_;
  std::vector<uint8_t> codes_, minima_;
  std::vector<int8_t> scales_;
  std::vector<float> d_, dmin_, values_;
};

}  // namespace arkit::gguf_k
