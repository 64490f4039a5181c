#pragma once
// What the element loops of this folder share: loads and stores of f32 and bf16, exp, sums. No LibTorch here.

#include <algorithm>
#include <bit>
#include <cstdint>

#include <arkit/kernel_set.h>

#include "nn_kernels.h"

namespace arkit::sdk::kernels {

constexpr int kLanes = 16;  // partial sums of a reduction: one AVX-512 register

ARKIT_INLINE float load(float x) {
  return x;
}
ARKIT_INLINE float load(Bf16 x) {
  return std::bit_cast<float>(static_cast<uint32_t>(x.bits) << 16);
}
// Round to nearest even; a NaN stays one.
ARKIT_INLINE uint32_t bf16_bits(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  const uint32_t rounded = (bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16;
  return x != x ? 0x7FC0U : rounded;
}
ARKIT_INLINE void store(float& to, float x) {
  to = x;
}
ARKIT_INLINE void store(Bf16& to, float x) {
  to.bits = static_cast<uint16_t>(bf16_bits(x));
}
// The value x has after being stored in T.
template <typename T>
ARKIT_INLINE float rounded(float x) {
  if constexpr (sizeof(T) == sizeof(float))
    return x;
  else
    return std::bit_cast<float>(bf16_bits(x) << 16);
}

// exp within 2 ulp: 2^k times a polynomial on [-ln2/2, ln2/2]. Branch-free, so that loops over it vectorise.
ARKIT_INLINE float fast_exp(float x) {
  constexpr float kMagic = 12582912.0F;  // 1.5 * 2^23: adding it rounds to an integer
  const float clamped = std::min(std::max(x, -87.3F), 88.3F);
  const float k = (clamped * 1.44269504F + kMagic) - kMagic;
  const float r = (clamped - k * 0.693359375F) + k * 2.12194440e-4F;
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  const float e = p * r * r + r + 1.0F;
  const int32_t exponent = (static_cast<int32_t>(k) + 127) << 23;
  return e * std::bit_cast<float>(exponent);
}

template <typename Term>
ARKIT_INLINE float lane_sum(int64_t n, Term term) {
  float lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int j = 0; j < kLanes; ++j) lanes[j] += term(i + j);
  float sum = 0.0F;
  for (; i < n; ++i) sum += term(i);
  for (int j = 0; j < kLanes; ++j) sum += lanes[j];
  return sum;
}

}  // namespace arkit::sdk::kernels
