#pragma once
// The formulas of tuning_kernels.h one element at a time, sums in double. Elements without a sum are what float gives.

#include <bit>
#include <cmath>

#include "tuning/tuning_kernels.h"

namespace arkit::kernels {

inline float value_ref(float x) {
  return x;
}
inline float value_ref(BFloat16 x) {
  return std::bit_cast<float>(static_cast<uint32_t>(x.bits) << 16);
}

inline void put_ref(float& out, float x) {
  out = x;
}
// The nearer of the two bfloat16 around x, the even one of equals; beyond the last one infinity.
inline void put_ref(BFloat16& out, float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x), rest = bits & 0xFFFFU;
  auto below = static_cast<uint16_t>(bits >> 16);
  const bool up = rest > 0x8000U || (rest == 0x8000U && below % 2 == 1);
  out.bits = up ? static_cast<uint16_t>(below + 1) : below;
}

inline float sign_ref(float x) {
  if (x > 0.0F) return 1.0F;
  return x < 0.0F ? -1.0F : 0.0F;
}

inline void sign_step_ref(float* p, float* g, int64_t n, float lr) {
  for (int64_t i = 0; i < n; ++i) {
    p[i] = p[i] - lr * sign_ref(g[i]);
    g[i] = 0.0F;
  }
}

// What an optimizer that remembers may take of a gradient: no NaN, nothing beyond float16.
inline float bounded_ref(float g) {
  if (std::isnan(g)) return 0.0F;
  return std::fmin(std::fmax(g, -65504.0F), 65504.0F);
}

inline void sign_momentum_step_ref(float* p, float* g, float* b, int64_t n, float lr, float momentum, bool first) {
  for (int64_t i = 0; i < n; ++i) {
    const double before = first ? 0.0 : static_cast<double>(momentum) * b[i];
    b[i] = static_cast<float>(before + bounded_ref(g[i]));
    p[i] = p[i] - lr * sign_ref(b[i]);
    g[i] = 0.0F;
  }
}

inline void adam_step_ref(float* p, float* g, float* m, float* v, int64_t n, const AdamStep& step) {
  for (int64_t i = 0; i < n; ++i) {
    const double x = bounded_ref(g[i]), beta1 = step.beta1, beta2 = step.beta2;
    const double mean = beta1 * m[i] + (1.0 - beta1) * x, square = beta2 * v[i] + (1.0 - beta2) * x * x;
    const double corrected = mean / step.correction1, deviation = std::sqrt(square) / step.sqrt_correction2;
    p[i] = static_cast<float>(p[i] - step.lr * corrected / (deviation + step.eps));
    m[i] = static_cast<float>(mean);
    v[i] = static_cast<float>(square);
    g[i] = 0.0F;
  }
}

// `limit`: differences above it count as none; infinity = all count.
template <typename T>
double squared_error_ref(const T* pred, const T* ref, const uint8_t* mask, int64_t rows, int64_t width, float factor,
                         float limit, T* grad) {
  double sum = 0.0;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = r * width; i < (r + 1) * width; ++i) {
      float difference = value_ref(pred[i]) - value_ref(ref[i]);
      const bool masked = mask != nullptr && mask[r] == 0;
      if (masked || std::fabs(difference) > limit) difference = 0.0F;
      sum += static_cast<double>(difference) * difference;
      put_ref(grad[i], masked ? 0.0F : factor * difference);
    }
  return sum;
}

template <typename T>
void add_squares_ref(const T* x, int64_t rows, int64_t width, double* sum) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < width; ++c) {
      const double value = value_ref(x[r * width + c]);
      sum[c] += value * value;
    }
}

template <typename T>
void add_rows_ref(const T* x, int64_t rows, int64_t width, double* sum) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < width; ++c) sum[c] += value_ref(x[r * width + c]);
}

}  // namespace arkit::kernels
