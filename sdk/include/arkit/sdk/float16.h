#pragma once
// Exact conversions between float32 and the two 16-bit floats, free of LibTorch, so that kernels can use them.
//
// bfloat16 is the upper half of a float32. float16 has 5 exponent bits and 10 mantissa bits; its subnormals are
// multiples of 2^-24. Every conversion to 16 bits rounds half to even, like torch's casts.
//
// always_inline on purpose: kernels are compiled once per instruction set, and an out-of-line copy of an inline
// function that was compiled for AVX-512 could be the one the linker keeps for everybody.

#include <cstdint>
#include <cstring>

#define ARKIT_ALWAYS_INLINE [[gnu::always_inline]] inline

namespace arkit::sdk {

ARKIT_ALWAYS_INLINE uint32_t float_bits(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

ARKIT_ALWAYS_INLINE float float_from_bits(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

ARKIT_ALWAYS_INLINE float bfloat16_to_float(uint16_t h) {
  return float_from_bits(static_cast<uint32_t>(h) << 16);
}

// NaN becomes the quiet NaN 0x7FC0, as torch does.
ARKIT_ALWAYS_INLINE uint16_t float_to_bfloat16(float x) {
  const uint32_t bits = float_bits(x);
  if ((bits & 0x7FFFFFFFU) > 0x7F800000U) return 0x7FC0U;
  return static_cast<uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}

// The value of x after a round trip through bfloat16.
ARKIT_ALWAYS_INLINE float round_to_bfloat16(float x) {
  return bfloat16_to_float(float_to_bfloat16(x));
}

// The value of x after a round trip through float16; infinity from 65520 on.
ARKIT_ALWAYS_INLINE float round_to_float16(float x) {
  const uint32_t bits = float_bits(x), sign = bits & 0x80000000U, magnitude = bits & 0x7FFFFFFFU;
  if (magnitude > 0x7F800000U) return x;                                     // NaN
  if (magnitude >= 0x477FF000U) return float_from_bits(sign | 0x7F800000U);  // >= 65520
  if (magnitude >= 0x38800000U) {                                            // >= 2^-14: keep 10 mantissa bits
    const uint32_t rounded = (magnitude + 0xFFFU + ((magnitude >> 13) & 1U)) & ~0x1FFFU;
    return float_from_bits(sign | rounded);
  }
  // Subnormal: the unit in the last place of 0.5 is 2^-24, so adding 0.5 rounds to a multiple of it.
  const float rounded = (float_from_bits(magnitude) + 0.5F) - 0.5F;
  return float_from_bits(sign | float_bits(rounded));
}

ARKIT_ALWAYS_INLINE uint16_t float_to_float16(float x) {
  const float value = round_to_float16(x);
  const uint32_t bits = float_bits(value), magnitude = bits & 0x7FFFFFFFU;
  const auto sign = static_cast<uint16_t>((bits >> 16) & 0x8000U);
  if (magnitude > 0x7F800000U) return static_cast<uint16_t>(sign | 0x7E00U);
  if (magnitude == 0x7F800000U) return static_cast<uint16_t>(sign | 0x7C00U);
  if (magnitude >= 0x38800000U) return static_cast<uint16_t>(sign | ((magnitude - 0x38000000U) >> 13));
  return static_cast<uint16_t>(sign | static_cast<uint32_t>(float_from_bits(magnitude) * 16777216.0F));  // 2^24
}

ARKIT_ALWAYS_INLINE float float16_to_float(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000U) << 16, magnitude = h & 0x7FFFU;
  if (magnitude >= 0x7C00U) return float_from_bits(sign | 0x7F800000U | ((magnitude & 0x3FFU) << 13));
  if (magnitude >= 0x0400U) return float_from_bits(sign | ((magnitude << 13) + 0x38000000U));
  return float_from_bits(sign | float_bits(static_cast<float>(magnitude) * 5.9604644775390625e-8F));  // 2^-24
}

}  // namespace arkit::sdk
