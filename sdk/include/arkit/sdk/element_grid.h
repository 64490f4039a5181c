#pragma once
// Small signed number formats of 2 to 8 bits and the two unsigned scale formats of microscaling. No LibTorch here.
//
// An element is sign | exponent | mantissa, the sign in the highest bit. Normal numbers are 2^e (1 + mantissa / 2^m);
// below 2^min_exponent steps stay 2^(min_exponent - m). Fixed-point elements (mx_int) are the case without an exponent:
// min_exponent 0, every number subnormal or in [1, 2), so the code is sign | magnitude.

#include <cstdint>

#include <arkit/sdk/float16.h>

namespace arkit::sdk {

struct ElementGrid {
  int bits = 4;          // of a code, sign included
  int mantissa = 1;      // explicit mantissa bits
  int min_exponent = 0;  // of the smallest normal number
  float max = 6.0F;      // largest magnitude
  int max_exponent = 2;  // floor(log2 max)
};

inline constexpr ElementGrid kE2m1{4, 1, 0, 6.0F, 2};
inline constexpr ElementGrid kE2m3{6, 3, 0, 7.5F, 2};
inline constexpr ElementGrid kE3m2{6, 2, -2, 28.0F, 4};
inline constexpr ElementGrid kE4m3{8, 3, -6, 448.0F, 8};
inline constexpr ElementGrid kE5m2{8, 2, -14, 57344.0F, 15};

// mx_int of 2 to 8 bits: multiples of 2^(2 - bits) below 2.
[[nodiscard]] constexpr ElementGrid fixed_point_grid(int bits) {
  const int mantissa = bits - 2;
  return {bits, mantissa, 0, 2.0F - 1.0F / static_cast<float>(1 << mantissa), 0};
}

// E8M0, the scale of microscaling formats: value 2^(byte - 127), for byte 0..254; 255 is NaN.
ARKIT_ALWAYS_INLINE float e8m0_to_float(uint8_t byte) {
  if (byte == 0) return float_from_bits(0x00400000U);  // 2^-127, a subnormal float
  return float_from_bits(byte == 255 ? 0x7FC00000U : static_cast<uint32_t>(byte) << 23);
}

inline constexpr float kUe5m3Max = 114688.0F;

// Unsigned E5M3: bias 15, steps of 2^-17 below 2^-14, 0xFF is NaN; half to even, saturates at kUe5m3Max (0xFE).
ARKIT_ALWAYS_INLINE uint8_t float_to_ue5m3(float x) {
  if (x != x) return 0xFF;
  if (x <= 0) return 0;
  if (x >= kUe5m3Max) return 0xFE;
  if (x < 0x1p-14F) return static_cast<uint8_t>((x * 0x1p17F + 8388608.0F) - 8388608.0F);
  const uint32_t bits = float_bits(x);
  return static_cast<uint8_t>(((bits + 0x7FFFFU + ((bits >> 20) & 1U)) >> 20) - (112U << 3));
}

ARKIT_ALWAYS_INLINE float ue5m3_to_float(uint8_t code) {
  if (code == 0xFF) return float_from_bits(0x7FC00000U);
  if (code < 8) return static_cast<float>(code) * 0x1p-17F;
  return float_from_bits((static_cast<uint32_t>(code) << 20) + (112U << 23));
}

}  // namespace arkit::sdk
