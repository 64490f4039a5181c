#pragma once
// Bytes that blocks of E2M1 values have for scales, as halves of what they are worth: levels of such blocks are doubled
// (gguf_blocks.h). UE4M3 is E4M3 without a sign; E8M0 is 2^(byte - 127). No LibTorch here.

#include <bit>
#include <cstdint>

namespace arkit::sdk {

// 0x7f is no number and read as 0; the highest bit has no say.
[[nodiscard]] inline float half_of_ue4m3(uint8_t byte) noexcept {
  if (byte == 0x7f) return 0;
  const uint32_t exponent = byte >> 3 & 15, mantissa = byte & 7;
  if (exponent == 0) return static_cast<float>(mantissa) * 0x1p-10F;
  return std::bit_cast<float>((exponent + 119) << 23 | mantissa << 20);
}

// To nearest, halves up, 448 at most; 0 for what is not above 0.
[[nodiscard]] inline uint8_t ue4m3_of(float value) noexcept {
  constexpr uint8_t kMost = 126;
  constexpr float kLeastNormal = 0x1p-6F;
  if (!(value > 0)) return 0;
  if (value >= 448) return kMost;
  if (value < kLeastNormal) {
    const auto mantissa = static_cast<uint8_t>(value * 512 + 0.5F);
    return mantissa < 7 ? mantissa : uint8_t{7};  // 7.5 and more stay below the normal numbers, as ggml has it
  }
  // Three bits of the mantissa stay; a carry goes on into the exponent, whose bias is 7 instead of 127.
  const uint32_t code = ((std::bit_cast<uint32_t>(value) + (uint32_t{1} << 19)) >> 20) - (120U << 3);
  return static_cast<uint8_t>(code < kMost ? code : kMost);
}

[[nodiscard]] inline float half_of_e8m0(uint8_t byte) noexcept {
  return std::bit_cast<float>(byte < 2 ? uint32_t{0x00200000} << byte : static_cast<uint32_t>(byte - 1) << 23);
}

// Of a power of two from 2^-128 to 2^127.
[[nodiscard]] inline uint8_t e8m0_of_half(float power) noexcept {
  const auto bits = std::bit_cast<uint32_t>(power);
  return static_cast<uint8_t>(bits < 0x00800000 ? bits >> 22 : (bits >> 23) + 1);
}

}  // namespace arkit::sdk
