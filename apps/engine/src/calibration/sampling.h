#pragma once
// Drawing one token from logits. No LibTorch here.

#include <cstdint>
#include <span>

#include <arkit/export.h>

namespace arkit::calibration {

// Uniform in [0, 1), a pure function of its arguments (SplitMix64 over them).
[[nodiscard]] ARKIT_EXPORT double uniform_at(uint64_t seed, uint64_t stream, uint64_t counter);

struct SamplingRule {
  double temperature = 1.0;  // > 0
  double top_p = 1.0;        // in (0, 1]
  int64_t top_k = 0;         // 0 = all
};

// The index that `uniform` in [0, 1) picks among the top_k largest logits, cut to the smallest set with probability
// top_p, probable ones first. Ties go to the smaller index. NaN is never picked; returns -1 when there is no finite
// logit.
[[nodiscard]] ARKIT_EXPORT int64_t sample_token(std::span<const float> logits, const SamplingRule& rule,
                                                double uniform);

}  // namespace arkit::calibration
