#pragma once
// Sums of the search, in one order whatever the number of threads. Loops without LibTorch.

#include <cstdint>

namespace arkit::awq {

// sums[c] += |x[r][c]| over `rows` rows of `width` numbers.
void add_magnitudes(const float* x, int64_t rows, int64_t width, float* sums);

// Sum of (a - b)^2.
double squared_distance(const float* a, const float* b, int64_t count);

// Sum of a b.
double dot(const float* a, const float* b, int64_t count);

}  // namespace arkit::awq
