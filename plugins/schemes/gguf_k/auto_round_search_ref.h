#pragma once
// AutoRound's searches (docs/spec/gguf-rounding.md 4), one group after the other: the judge of auto_round_lanes.h.

#include <cmath>

#include "ggml_searches.h"

namespace arkit::gguf_k {

inline constexpr float kTiny = 1e-30F;  // what is below counts as 0

inline float reciprocal(float x) {
  return std::fabs(x) < kTiny ? 0 : 1 / x;
}

// Sums are PyTorch's with vectors of eight: eight partial ones, then those in order.
template <typename Term>
float sum_of_eight(int n, const Term& term) {
  float parts[8] = {};
  for (int i = 0; i < n; ++i) parts[i % 8] += term(i);
  float sum = 0;
  for (const float part : parts) sum += part;
  return sum;
}

void reround_ref(const GroupRun& run);
void products_ref(const GroupRun& run);
void descend_eight_ref(const GroupRun& run);
void candidates_ref(const CandidateRun& run);

}  // namespace arkit::gguf_k
