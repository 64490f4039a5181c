#pragma once
// The Walsh-Hadamard transform in Sylvester's order by butterflies: n log2(n) additions a row. No LibTorch here.

#include <cstdint>

namespace arkit::rotation::kernels {

// out[r, :] = scale * in[r, :] S_n for rows of n values, n a power of two; `in` and `out` may be the same, otherwise
// they do not overlap. Single-threaded.
template <typename T>
void walsh_transform(const T* in, T* out, int64_t rows, int64_t n, T scale);

}  // namespace arkit::rotation::kernels
