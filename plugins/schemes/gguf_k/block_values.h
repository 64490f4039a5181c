#pragma once
// Element loops around the searches, compiled for the instruction sets there are. No LibTorch here.

#include <cstdint>

namespace arkit::gguf_k {

// Is each of `n` numbers neither NaN nor infinite?
[[nodiscard]] bool all_finite(const float* x, int64_t n) noexcept;

// Groups of codes as numbers: scales[g] * (code - zero), or of a `table` scales[g] * table[code], less minima[g] where
// there are minima. As ggml does it, in every bit: a product and a difference are rounded one after the other.
struct CodedGroups {
  const uint8_t* codes;  // [groups * group]
  const float* scales;   // [groups]
  const float* minima;   // [groups], or null
  const float* table;    // [256], or null
  int64_t groups;
  int group;
  int zero;
};
void put_values(const CodedGroups& from, float* to) noexcept;

}  // namespace arkit::gguf_k
