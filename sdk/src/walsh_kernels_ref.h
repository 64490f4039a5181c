#pragma once
// The transform by its definition: entry (i, j) of Sylvester's matrix is -1 to the number of ones that i and j share.

#include <bit>
#include <cstdint>
#include <vector>

namespace arkit::rotation::kernels {

template <typename T>
void walsh_transform_ref(const T* in, T* out, int64_t rows, int64_t n, T scale) {
  for (int64_t r = 0; r < rows; ++r) {
    std::vector<T> row(static_cast<size_t>(n));
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0.0;
      for (int64_t i = 0; i < n; ++i) {
        const double x = static_cast<double>(in[r * n + i]);
        sum += std::popcount(static_cast<uint64_t>(i & j)) % 2 == 0 ? x : -x;
      }
      row[static_cast<size_t>(j)] = static_cast<T>(sum * static_cast<double>(scale));
    }
    for (int64_t j = 0; j < n; ++j) out[r * n + j] = row[static_cast<size_t>(j)];
  }
}

}  // namespace arkit::rotation::kernels
