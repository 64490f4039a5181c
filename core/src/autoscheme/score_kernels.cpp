#include "autoscheme/score_kernels.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "util/clones.h"

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

}  // namespace

ARKIT_CLONES void add_squares(const float* g, int64_t n, float* f) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) f[i] += g[i] * g[i];
}

// Clones need a definition of their own: a template's instantiation cannot carry the attribute.
#define ARKIT_KERNELS_FOR(T)                                                                         \
  template <>                                                                                        \
  ARKIT_CLONES double weighted_squared_error<T>(const float* f, const T* w, const T* q, int64_t n) { \
    return weighted_squares(f, w, q, n);                                                             \
  }                                                                                                  \
  template <>                                                                                        \
  ARKIT_CLONES double absolute_products<T>(const float* g, const T* w, const T* q, int64_t n) {      \
    return abs_products(g, w, q, n);                                                                 \
  }                                                                                                  \
  template <>                                                                                        \
  ARKIT_CLONES double squared_products<T>(const T* g, const T* x, const T* q, int64_t n) {           \
    return product_squares(g, x, q, n);                                                              \
  }
ARKIT_KERNELS_FOR(float)
ARKIT_KERNELS_FOR(BFloat16)

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
