#pragma once
// Loops over elements of scoring; no LibTorch here. Each works on one contiguous range and is called from several
// threads with disjoint ranges. Sums are kept in float over kChunk elements and in double beyond, so that they do not
// depend on how ranges are spread over threads as long as ranges begin at multiples of kChunk.

#include <cstdint>

#include "tuning/tuning_kernels.h"

namespace arkit::auto_scheme::kernels {

using arkit::kernels::BFloat16;

inline constexpr int64_t kChunk = 4096;

// f[i] += g[i]^2.
void add_squares(const float* g, int64_t n, float* f);

// Sum of f[i] * (w[i] - q[i])^2.
template <typename T>
[[nodiscard]] double weighted_squared_error(const float* f, const T* w, const T* q, int64_t n);

// Sum of |g[i] * (w[i] - q[i])|.
template <typename T>
[[nodiscard]] double absolute_products(const float* g, const T* w, const T* q, int64_t n);

// Sum of (g[i] * (x[i] - q[i]))^2.
template <typename T>
[[nodiscard]] double squared_products(const T* g, const T* x, const T* q, int64_t n);

// The index drawn by u in [0, 1) from probabilities p[0..n), which add up to about one.
[[nodiscard]] int64_t pick_index(const float* p, int64_t n, double u);

}  // namespace arkit::auto_scheme::kernels
