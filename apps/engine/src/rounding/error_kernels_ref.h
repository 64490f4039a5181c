#pragma once
// The sums in double.

#include "rounding/error_kernels.h"

namespace arkit::rounding {

inline ErrorSums error_sums_ref(const float* w, const float* d, int64_t rows, int64_t width) {
  ErrorSums sums;
  for (int64_t i = 0; i < rows * width; ++i) {
    const double x = w[i], delta = x - static_cast<double>(d[i]);
    sums.error += delta * delta;
    sums.norm += x * x;
  }
  return sums;
}

}  // namespace arkit::rounding
