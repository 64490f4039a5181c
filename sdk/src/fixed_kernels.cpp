// Compiled without contraction. Functions of libm are asked in double and rounded to float, so that the last bit in
// which its variants for several CPUs differ does not show.
#include "fixed_kernels.h"

#include <cmath>
#include <numbers>

#include "kernel_math.h"

namespace arkit::sdk::kernels {
namespace {

ARKIT_INLINE float halved(float* lanes) {
  for (int width = kLanes / 2; width > 0; width /= 2)
    for (int j = 0; j < width; ++j) lanes[j] += lanes[j + width];
  return lanes[0];
}

template <typename Term>
ARKIT_INLINE float halving_sum(int64_t n, Term term) {
  float lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int j = 0; j < kLanes; ++j) lanes[j] += term(i + j);
  for (int j = 0; i < n; ++i, ++j) lanes[j] += term(i);
  return halved(lanes);
}

ARKIT_INLINE float capped(float score, float cap) {
  return cap > 0.0F ? cap * static_cast<float>(std::tanh(static_cast<double>(score / cap))) : score;
}

ARKIT_INLINE void attend(const FixedQuery& call, float* __restrict shares, float* __restrict out) {
  const float* const query = call.query;
  float max = 0.0F;
  for (int64_t t = 0; t < call.keys; ++t) {
    const float* const key = call.key + t * call.key_stride;
    const float product = halving_sum(call.head_dim, [=](int64_t i) { return query[i] * key[i]; });
    const float score = capped(product * call.scale, call.softcap);
    const float masked = score + (call.mask == nullptr ? 0.0F : call.mask[t]);
    shares[t] = masked;
    max = t == 0 || masked > max ? masked : max;
  }
  for (int64_t t = 0; t < call.keys; ++t) shares[t] = fast_exp(shares[t] - max);
  const float inverse = 1.0F / halving_sum(call.keys, [=](int64_t t) { return shares[t]; });
  for (int64_t i = 0; i < call.value_dim; ++i) out[i] = 0.0F;
  for (int64_t t = 0; t < call.keys; ++t) {
    const float share = shares[t] * inverse;
    const float* const value = call.value + t * call.value_stride;
    for (int64_t i = 0; i < call.value_dim; ++i) out[i] += share * value[i];
  }
}

}  // namespace

void fixed_attend(const FixedQuery& call, float* shares, float* out) {
  by_kernel_set<attend>(call, shares, out);
}

void fixed_gelu(const float* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const double wide = static_cast<double>(x[i]);
    y[i] = static_cast<float>(0.5 * wide * (1.0 + std::erf(wide / std::numbers::sqrt2)));
  }
}

void fixed_gelu_tanh(const float* x, float* y, int64_t n) {
  constexpr double kBeta = std::numbers::sqrt2 * std::numbers::inv_sqrtpi, kCubic = 0.044715;  // sqrt(2 / pi)
  for (int64_t i = 0; i < n; ++i) {
    const double wide = static_cast<double>(x[i]);
    y[i] = static_cast<float>(0.5 * wide * (1.0 + std::tanh(kBeta * (wide + kCubic * wide * wide * wide))));
  }
}

void fixed_cos_sin(const float* angle, float* cos, float* sin, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    cos[i] = static_cast<float>(std::cos(static_cast<double>(angle[i])));
    sin[i] = static_cast<float>(std::sin(static_cast<double>(angle[i])));
  }
}

void fixed_powers(double base, const float* exponent, float* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = static_cast<float>(std::pow(base, static_cast<double>(exponent[i])));
}

}  // namespace arkit::sdk::kernels
