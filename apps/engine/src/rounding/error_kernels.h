#pragma once
// Sums behind the relative error of a rounded weight. No LibTorch here.

#include <cstdint>

#include <arkit/export.h>

namespace arkit::rounding {

struct ErrorSums {
  double error = 0.0;  // sum of (w - d)^2
  double norm = 0.0;   // sum of w^2
};

// Over rows of `width` elements, in float within a row (a row has some ten thousand elements at most) and in double
// across rows: the result does not depend on how rows are spread over threads.
[[nodiscard]] ARKIT_INTERNAL ErrorSums error_sums(const float* w, const float* d, int64_t rows, int64_t width);
// The same of bfloat16 bits.
[[nodiscard]] ARKIT_INTERNAL ErrorSums error_sums(const uint16_t* w, const uint16_t* d, int64_t rows, int64_t width);

}  // namespace arkit::rounding
