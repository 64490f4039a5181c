#include "rounding/error_kernels.h"

#include <bit>

#include <arkit/kernel_set.h>

namespace arkit::rounding {
namespace {

ARKIT_INLINE float load(float x) {
  return x;
}
ARKIT_INLINE float load(uint16_t x) {
  return std::bit_cast<float>(static_cast<uint32_t>(x) << 16);
}

// Sixteen partial sums whatever the instruction set, so that the result is the same on every machine.
constexpr int64_t kLanes = 16;

template <typename T>
ARKIT_INLINE ErrorSums sums(const T* w, const T* d, int64_t rows, int64_t width) {
  ErrorSums total;
  for (int64_t r = 0; r < rows; ++r, w += width, d += width) {
    float error[kLanes] = {}, norm[kLanes] = {};
    int64_t i = 0;
    for (; i + kLanes <= width; i += kLanes)
#pragma omp simd
      for (int64_t lane = 0; lane < kLanes; ++lane) {
        const float x = load(w[i + lane]), delta = x - load(d[i + lane]);
        error[lane] += delta * delta;
        norm[lane] += x * x;
      }
    for (; i < width; ++i) {
      const float x = load(w[i]), delta = x - load(d[i]);
      error[i % kLanes] += delta * delta;
      norm[i % kLanes] += x * x;
    }
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      total.error += static_cast<double>(error[lane]);
      total.norm += static_cast<double>(norm[lane]);
    }
  }
  return total;
}

}  // namespace

ErrorSums error_sums(const float* w, const float* d, int64_t rows, int64_t width) {
  return by_kernel_set<sums<float>>(w, d, rows, width);
}

ErrorSums error_sums(const uint16_t* w, const uint16_t* d, int64_t rows, int64_t width) {
  return by_kernel_set<sums<uint16_t>>(w, d, rows, width);
}

}  // namespace arkit::rounding
