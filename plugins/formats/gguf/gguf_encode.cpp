#include "gguf_encode.h"

#include <algorithm>
#include <cstring>

#include <arkit/kernel_set.h>
#include <arkit/sdk/float16.h>
#include <arkit/sdk/gguf_scales.h>

namespace arkit::gguf {
namespace {

constexpr int kBlock = 256;

ARKIT_INLINE void put_half(float value, uint8_t* to) {
  const uint16_t half = sdk::float_to_float16(value);
  std::memcpy(to, &half, sizeof(half));
}

// Blocks of 32: byte j holds element j and, in its high half, element 16 + j.
ARKIT_INLINE void put_nibbles(const uint8_t* codes, uint8_t* to) {
  for (int j = 0; j < 16; ++j) to[j] = static_cast<uint8_t>((codes[j] & 15) | codes[16 + j] << 4);
}

ARKIT_INLINE void put_fifth_bits(const uint8_t* codes, uint8_t* to) {
  uint32_t bits = 0;
  for (int i = 0; i < 32; ++i) bits |= static_cast<uint32_t>(codes[i] >> 4 & 1) << i;
  std::memcpy(to, &bits, sizeof(bits));
}

// Two bits of each of 256 codes: byte 32 h + r mod 32 holds them at 2 (r / 32), r = element mod 128.
ARKIT_INLINE void put_twos(const uint8_t* codes, int shift, uint8_t* to) {
  for (int half = 0; half < 2; ++half)
    for (int l = 0; l < 32; ++l) {
      int byte = 0;
      for (int t = 0; t < 4; ++t) byte |= (codes[128 * half + 32 * t + l] >> shift & 3) << (2 * t);
      to[32 * half + l] = static_cast<uint8_t>(byte);
    }
}

// 6-bit scales and minima of 8 groups in 12 bytes.
ARKIT_INLINE void put_k_scales(const int8_t* scales, const uint8_t* minima, uint8_t* to) {
  for (int g = 0; g < 4; ++g) {
    const int scale = scales[g + 4], minimum = minima[g + 4];
    to[g] = static_cast<uint8_t>((scales[g] & 63) | scale >> 4 << 6);
    to[g + 4] = static_cast<uint8_t>((minima[g] & 63) | minimum >> 4 << 6);
    to[g + 8] = static_cast<uint8_t>((scale & 15) | (minimum & 15) << 4);
  }
}

// Byte 32 (g / 2) + e mod 32 holds groups g and g + 1 of 32.
ARKIT_INLINE void put_k_nibbles(const uint8_t* codes, uint8_t* to) {
  for (int pair = 0; pair < 4; ++pair)
    for (int l = 0; l < 32; ++l)
      to[32 * pair + l] = static_cast<uint8_t>((codes[64 * pair + l] & 15) | (codes[64 * pair + 32 + l] & 15) << 4);
}

ARKIT_INLINE void put_q3_scales(const int8_t* scales, uint8_t* to) {
  std::fill_n(to, 12, uint8_t{0});
  for (int g = 0; g < 16; ++g) {
    const int code = scales[g] + 32;
    to[g % 8] |= static_cast<uint8_t>((code & 15) << (g < 8 ? 0 : 4));
    to[8 + g % 4] |= static_cast<uint8_t>((code >> 4) << (2 * (g / 4)));
  }
}

ARKIT_INLINE void put_iq4_xs(const BlockCodes& from, uint8_t* to) {
  put_half(from.d, to);
  uint16_t high = 0;
  std::fill_n(to + 4, 4, uint8_t{0});
  for (int g = 0; g < 8; ++g) {
    const int code = from.scales[g] + 32;
    high = static_cast<uint16_t>(high | (code >> 4) << (2 * g));
    to[4 + g / 2] |= static_cast<uint8_t>((code & 15) << (4 * (g % 2)));
    put_nibbles(from.codes + 32 * g, to + 8 + 16 * g);
  }
  std::memcpy(to + 2, &high, sizeof(high));
}

ARKIT_INLINE void put_q6_k(const BlockCodes& from, uint8_t* to) {
  for (int half = 0; half < 2; ++half)
    for (int l = 0; l < 64; ++l) {
      const uint8_t* codes = from.codes + 128 * half + l;
      to[64 * half + l] = static_cast<uint8_t>((codes[0] & 15) | (codes[64] & 15) << 4);
    }
  put_twos(from.codes, 4, to + 128);
  std::memcpy(to + 192, from.scales, 16);
  put_half(from.d, to + 208);
}

ARKIT_INLINE void put_q3_k(const BlockCodes& from, uint8_t* to) {
  for (int l = 0; l < 32; ++l) {
    int mask = 0;
    for (int bit = 0; bit < 8; ++bit) mask |= (from.codes[32 * bit + l] >> 2 & 1) << bit;
    to[l] = static_cast<uint8_t>(mask);
  }
  put_twos(from.codes, 0, to + 32);
  put_q3_scales(from.scales, to + 96);
  put_half(from.d, to + 108);
}

ARKIT_INLINE void put_nvfp4(const BlockCodes& from, uint8_t* to) {
  std::memcpy(to, from.scales, 4);
  for (int g = 0; g < 4; ++g)
    for (int i = 0; i < 8; ++i) {
      const uint8_t* codes = from.codes + 16 * g + i;
      to[4 + 8 * g + i] = static_cast<uint8_t>(codes[0] | codes[8] << 4);
    }
}

// `count` digits of base 3, each `stride` codes behind the last, as a fraction of 256 that their reader rounds down to
// them; of fewer than five the others are 0.
ARKIT_INLINE uint8_t trits(const uint8_t* codes, int count, int stride) {
  int number = 0;
  for (int n = 0; n < 5; ++n) number = 3 * number + (n < count ? codes[n * stride] : 0);
  return static_cast<uint8_t>((number * 256 + 242) / 243);
}

ARKIT_INLINE void put_tq1_0(const BlockCodes& from, uint8_t* to) {
  for (int m = 0; m < 32; ++m) to[m] = trits(from.codes + m, 5, 32);
  for (int m = 0; m < 16; ++m) to[32 + m] = trits(from.codes + 160 + m, 5, 16);
  for (int j = 0; j < 4; ++j) to[48 + j] = trits(from.codes + 240 + j, 4, 4);
  put_half(from.d, to + 52);
}

ARKIT_INLINE void put_block(TensorType type, const BlockCodes& from, uint8_t* to) {
  switch (type) {
    case TensorType::q4_0:
    case TensorType::iq4_nl:
      put_half(from.d, to);
      return put_nibbles(from.codes, to + 2);
    case TensorType::q4_1:
      put_half(from.d, to);
      put_half(-from.dmin, to + 2);
      return put_nibbles(from.codes, to + 4);
    case TensorType::q5_0:
      put_half(from.d, to);
      put_fifth_bits(from.codes, to + 2);
      return put_nibbles(from.codes, to + 6);
    case TensorType::q5_1:
      put_half(from.d, to);
      put_half(-from.dmin, to + 2);
      put_fifth_bits(from.codes, to + 4);
      return put_nibbles(from.codes, to + 8);
    case TensorType::q8_0:
      put_half(from.d, to);
      for (int i = 0; i < 32; ++i) to[2 + i] = from.codes[i] ^ 128;
      return;
    case TensorType::q2_k:
      for (int g = 0; g < 16; ++g) to[g] = static_cast<uint8_t>((from.scales[g] & 15) | from.minima[g] << 4);
      put_twos(from.codes, 0, to + 16);
      put_half(from.d, to + 80);
      return put_half(from.dmin, to + 82);
    case TensorType::q3_k:
      return put_q3_k(from, to);
    case TensorType::q4_k:
    case TensorType::q5_k: {
      put_half(from.d, to);
      put_half(from.dmin, to + 2);
      put_k_scales(from.scales, from.minima, to + 4);
      if (type == TensorType::q4_k) return put_k_nibbles(from.codes, to + 16);
      for (int l = 0; l < 32; ++l) {
        int bits = 0;
        for (int g = 0; g < 8; ++g) bits |= (from.codes[32 * g + l] >> 4 & 1) << g;
        to[16 + l] = static_cast<uint8_t>(bits);
      }
      return put_k_nibbles(from.codes, to + 48);
    }
    case TensorType::q6_k:
      return put_q6_k(from, to);
    case TensorType::iq4_xs:
      return put_iq4_xs(from, to);
    case TensorType::mxfp4:
      to[0] = sdk::e8m0_of_half(from.d);
      return put_nibbles(from.codes, to + 1);
    case TensorType::nvfp4:
      return put_nvfp4(from, to);
    case TensorType::tq1_0:
      return put_tq1_0(from, to);
    case TensorType::tq2_0:
      put_twos(from.codes, 0, to);
      return put_half(from.d, to + 64);
    case TensorType::f32:
    case TensorType::f16:
    case TensorType::bf16:
      return;
  }
}

ARKIT_INLINE void put_blocks(BlockRun run, uint8_t* to) {
  BlockCodes from = run.first;
  for (int64_t b = 0; b < run.count; ++b, to += run.block_bytes) {
    if (run.d != nullptr) from.d = run.d[b];
    if (run.dmin != nullptr) from.dmin = run.dmin[b];
    put_block(run.type, from, to);
    from.codes += run.block;
    if (from.scales != nullptr) from.scales += run.groups;
    if (from.minima != nullptr) from.minima += run.groups;
  }
}

}  // namespace

void encode_blocks(const BlockRun& run, std::byte* to) noexcept {
  by_kernel_set<put_blocks>(run, reinterpret_cast<uint8_t*>(to));
}

}  // namespace arkit::gguf
