#include "level_search_ref.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace arkit::gguf_k {
namespace {

constexpr std::array<float, 16> kDoubled{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// The nearest, the first of equally near ones.
uint8_t nearest_level(float x, float d) {
  size_t best = 0;
  for (size_t k = 1; k < kDoubled.size(); ++k)
    if (std::fabs(kDoubled[k] * d - x) < std::fabs(kDoubled[best] * d - x)) best = k;
  return static_cast<uint8_t>(best);
}

float error_of(const float* x, const float* importance, float d) {
  float error = 0;
  for (int i = 0; i < 16; ++i) {
    const float size = std::fabs(x[i]), difference = size - kDoubled[nearest_level(size, d)] * d;
    error += importance[i] * difference * difference;
  }
  return error;
}

}  // namespace

void peaks_ref(const float* x, int64_t groups, int32_t group, float* peaks) {
  for (int64_t g = 0; g < groups; ++g) {
    peaks[g] = 0;
    for (int32_t i = 0; i < group; ++i) peaks[g] = std::max(peaks[g], std::fabs(x[g * group + i]));
  }
}

void e2m1_ref(const LevelRun& run) {
  for (int64_t i = 0; i < run.groups * run.group; ++i)
    run.codes[i] = nearest_level(run.x[i], run.scales[i / run.group]);
}

void trits_ref(const LevelRun& run) {
  for (int64_t g = 0; g < run.groups; ++g) {
    const float d = run.scales[g], inverse = d >= kLeastTritScale ? 1 / d : 0;
    for (int64_t i = g * run.group; i < (g + 1) * run.group; ++i)
      run.codes[i] = static_cast<uint8_t>(std::lround(run.x[i] * inverse) + 1);
  }
}

void scale_bytes_ref(const ByteRun& run) {
  for (int64_t g = 0; g < run.groups; ++g) {
    const float *x = run.x + 16 * g, *importance = run.importance + 16 * g;
    const int32_t first = run.bytes[g];
    float best = error_of(x, importance, run.halves[first]);
    for (int step = kLeastByteStep; step <= kMostByteStep; ++step) {
      const int32_t byte = first + step;
      if (step == 0 || byte < 0 || byte > kMostScaleByte) continue;
      if (const float error = error_of(x, importance, run.halves[byte]); error < best) {
        best = error;
        run.bytes[g] = byte;
      }
    }
  }
}

}  // namespace arkit::gguf_k
