#include "tuning/tuning_kernels.h"

#include <bit>
#include <cmath>

#include <arkit/kernel_set.h>

namespace arkit::kernels {
namespace {

ARKIT_INLINE float load(float x) {
  return x;
}
ARKIT_INLINE float load(BFloat16 x) {
  return std::bit_cast<float>(static_cast<uint32_t>(x.bits) << 16);
}
ARKIT_INLINE void store(float& out, float x) {
  out = x;
}
// Round half to even; inputs are finite.
ARKIT_INLINE void store(BFloat16& out, float x) {
  const auto u = std::bit_cast<uint32_t>(x);
  out.bits = static_cast<uint16_t>((u + 0x7FFFU + ((u >> 16) & 1U)) >> 16);
}

ARKIT_INLINE float sign(float x) {
  return static_cast<float>(x > 0.0F) - static_cast<float>(x < 0.0F);
}

// Partial sums in float over a row, rows in double: a row is at most a few thousand elements long.
template <typename T>
ARKIT_INLINE float row_error(const T* pred, const T* ref, int64_t width, float factor, T* grad) {
  float sum = 0.0F;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < width; ++i) {
    const float d = load(pred[i]) - load(ref[i]);
    sum += d * d;
    store(grad[i], factor * d);
  }
  return sum;
}

template <typename T>
ARKIT_INLINE float row_error_below(const T* pred, const T* ref, int64_t width, float factor, float limit, T* grad) {
  float sum = 0.0F;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < width; ++i) {
    const float d = load(pred[i]) - load(ref[i]);
    const float kept = std::fabs(d) > limit ? 0.0F : d;
    sum += kept * kept;
    store(grad[i], factor * kept);
  }
  return sum;
}

template <typename T>
ARKIT_INLINE void clear(T* grad, int64_t width) {
  for (int64_t i = 0; i < width; ++i) store(grad[i], 0.0F);
}

template <typename T>
ARKIT_INLINE double all_rows(const T* pred, const T* ref, const uint8_t* mask, int64_t rows, int64_t width,
                             float factor, T* grad) {
  double sum = 0.0;
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t at = r * width;
    if (mask != nullptr && mask[r] == 0)
      clear(grad + at, width);
    else
      sum += static_cast<double>(row_error(pred + at, ref + at, width, factor, grad + at));
  }
  return sum;
}

template <typename T>
ARKIT_INLINE double all_rows_below(const T* pred, const T* ref, const uint8_t* mask, int64_t rows, int64_t width,
                                   float factor, float limit, T* grad) {
  double sum = 0.0;
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t at = r * width;
    if (mask != nullptr && mask[r] == 0)
      clear(grad + at, width);
    else
      sum += static_cast<double>(row_error_below(pred + at, ref + at, width, factor, limit, grad + at));
  }
  return sum;
}

template <typename T>
ARKIT_INLINE void squares(const T* x, int64_t rows, int64_t width, float* sum) {
  for (int64_t r = 0; r < rows; ++r) {
    const T* row = x + r * width;
#pragma omp simd
    for (int64_t c = 0; c < width; ++c) sum[c] += load(row[c]) * load(row[c]);
  }
}

template <typename T>
ARKIT_INLINE void row_sums(const T* x, int64_t rows, int64_t width, float* out) {
  for (int64_t r = 0; r < rows; ++r) {
    const T* row = x + r * width;
#pragma omp simd
    for (int64_t c = 0; c < width; ++c) out[c] += load(row[c]);
  }
}

ARKIT_INLINE void sign_steps(float* p, float* g, int64_t n, float lr) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    p[i] -= lr * sign(g[i]);
    g[i] = 0.0F;
  }
}

// A float16 scale may overflow its gradient (docs/spec/signround.md 11): one step of sign SGD takes inf as a sign and
// NaN as none, but optimizer state must not keep either.
ARKIT_INLINE float bounded(float g) {
  constexpr float kLargest = 65504.0F;  // of float16
  return g != g ? 0.0F : g > kLargest ? kLargest : g < -kLargest ? -kLargest : g;
}

ARKIT_INLINE void sign_momentum_steps(float* p, float* g, float* b, int64_t n, float lr, float momentum, bool first) {
  const float keep = first ? 0.0F : momentum;
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    b[i] = keep * b[i] + bounded(g[i]);
    p[i] -= lr * sign(b[i]);
    g[i] = 0.0F;
  }
}

ARKIT_INLINE void adam_steps(float* p, float* g, float* m, float* v, int64_t n, const AdamStep& s) {
  const float step_size = s.lr / s.correction1;
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float x = bounded(g[i]);
    m[i] += (1.0F - s.beta1) * (x - m[i]);
    v[i] = s.beta2 * v[i] + (1.0F - s.beta2) * x * x;
    p[i] -= step_size * m[i] / (std::sqrt(v[i]) / s.sqrt_correction2 + s.eps);
    g[i] = 0.0F;
  }
}

}  // namespace

void sign_step(float* p, float* g, int64_t n, float lr) {
  by_kernel_set<sign_steps>(p, g, n, lr);
}

void sign_momentum_step(float* p, float* g, float* b, int64_t n, float lr, float momentum, bool first) {
  by_kernel_set<sign_momentum_steps>(p, g, b, n, lr, momentum, first);
}

void adam_step(float* p, float* g, float* m, float* v, int64_t n, const AdamStep& step) {
  by_kernel_set<adam_steps>(p, g, m, v, n, step);
}

template <typename T>
double squared_error(const T* pred, const T* ref, const uint8_t* mask, int64_t rows, int64_t width, float factor,
                     T* grad) {
  return by_kernel_set<all_rows<T>>(pred, ref, mask, rows, width, factor, grad);
}

template <typename T>
double squared_error_below(const T* pred, const T* ref, const uint8_t* mask, int64_t rows, int64_t width, float factor,
                           float limit, T* grad) {
  return by_kernel_set<all_rows_below<T>>(pred, ref, mask, rows, width, factor, limit, grad);
}

template <typename T>
void add_squares(const T* x, int64_t rows, int64_t width, float* sum) {
  by_kernel_set<squares<T>>(x, rows, width, sum);
}

template <typename T>
void add_rows(const T* x, int64_t rows, int64_t width, float* out) {
  by_kernel_set<row_sums<T>>(x, rows, width, out);
}

#define ARKIT_KERNELS_FOR(T)                                                                                      \
  template double squared_error<T>(const T*, const T*, const uint8_t*, int64_t, int64_t, float, T*);              \
  template double squared_error_below<T>(const T*, const T*, const uint8_t*, int64_t, int64_t, float, float, T*); \
  template void add_squares<T>(const T*, int64_t, int64_t, float*);                                               \
  template void add_rows<T>(const T*, int64_t, int64_t, float*);
ARKIT_KERNELS_FOR(float)
ARKIT_KERNELS_FOR(BFloat16)

}  // namespace arkit::kernels
