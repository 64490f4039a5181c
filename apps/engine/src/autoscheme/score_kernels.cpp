#include "autoscheme/score_kernels.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include <arkit/kernel_set.h>

namespace arkit::auto_scheme::kernels {
namespace {

ARKIT_INLINE float load(float x) {
  return x;
}
ARKIT_INLINE float load(BFloat16 x) {
  return std::bit_cast<float>(static_cast<uint32_t>(x.bits) << 16);
}

// Sum over i of term(i).
template <typename Term>
ARKIT_INLINE double chunked_sum(int64_t n, const Term& term) {
  double total = 0.0;
  for (int64_t begin = 0; begin < n; begin += kChunk) {
    const int64_t end = std::min(n, begin + kChunk);
    float sum = 0.0F;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = begin; i < end; ++i) sum += term(i);
    total += static_cast<double>(sum);
  }
  return total;
}

template <typename T>
ARKIT_INLINE double weighted_squares(const float* f, const T* w, const T* q, int64_t n) {
  return chunked_sum(n, [=](int64_t i) {
    const float d = load(w[i]) - load(q[i]);
    return f[i] * d * d;
  });
}

template <typename T>
ARKIT_INLINE double abs_products(const float* g, const T* w, const T* q, int64_t n) {
  return chunked_sum(n, [=](int64_t i) { return std::fabs(g[i] * (load(w[i]) - load(q[i]))); });
}

template <typename T>
ARKIT_INLINE double product_squares(const T* g, const T* x, const T* q, int64_t n) {
  return chunked_sum(n, [=](int64_t i) {
    const float p = load(g[i]) * (load(x[i]) - load(q[i]));
    return p * p;
  });
}

ARKIT_INLINE void squares(const float* g, int64_t n, float* f) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) f[i] += g[i] * g[i];
}

}  // namespace

void add_squares(const float* g, int64_t n, float* f) {
  by_kernel_set<squares>(g, n, f);
}

template <typename T>
double weighted_squared_error(const float* f, const T* w, const T* q, int64_t n) {
  return by_kernel_set<weighted_squares<T>>(f, w, q, n);
}

template <typename T>
double absolute_products(const float* g, const T* w, const T* q, int64_t n) {
  return by_kernel_set<abs_products<T>>(g, w, q, n);
}

template <typename T>
double squared_products(const T* g, const T* x, const T* q, int64_t n) {
  return by_kernel_set<product_squares<T>>(g, x, q, n);
}

template double weighted_squared_error<float>(const float*, const float*, const float*, int64_t);
template double weighted_squared_error<BFloat16>(const float*, const BFloat16*, const BFloat16*, int64_t);
template double absolute_products<float>(const float*, const float*, const float*, int64_t);
template double absolute_products<BFloat16>(const float*, const BFloat16*, const BFloat16*, int64_t);
template double squared_products<float>(const float*, const float*, const float*, int64_t);
template double squared_products<BFloat16>(const BFloat16*, const BFloat16*, const BFloat16*, int64_t);

int64_t pick_index(const float* p, int64_t n, double u) {
  double sum = 0.0;
  int64_t last = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (p[i] <= 0.0F) continue;
    last = i;
    sum += static_cast<double>(p[i]);
    if (sum > u) return i;
  }
  return last;
}

}  // namespace arkit::auto_scheme::kernels
