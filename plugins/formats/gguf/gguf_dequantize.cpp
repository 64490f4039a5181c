#include "gguf_dequantize.h"

#include <array>
#include <bit>
#include <cstring>

namespace arkit::gguf {
namespace {

template <typename T>
T load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

// Exponent and mantissa move to their float32 places; the product with 2^112 corrects the bias and is exact for normal
// and subnormal halves alike. Infinity and NaN are assembled by hand.
float half_to_float(uint16_t half) {
  const uint32_t sign = (half & 0x8000U) << 16;
  const uint32_t rest = half & 0x7FFFU;
  if (rest >= 0x7C00U) return std::bit_cast<float>(sign | 0x7F800000U | ((rest & 0x3FFU) << 13));
  const float magnitude = std::bit_cast<float>(rest << 13) * 0x1p112F;
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
}

float half_at(const std::byte* at) {
  return half_to_float(load<uint16_t>(at));
}
int u8(std::byte b) {
  return std::to_integer<int>(b);
}
int low(std::byte b) {
  return std::to_integer<int>(b) & 15;
}
int high(std::byte b) {
  return std::to_integer<int>(b) >> 4;
}
int i8(std::byte b) {
  return static_cast<int8_t>(b);
}

constexpr std::array<int, 16> kIq4{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

// Blocks of 32: nibble j holds element j, its high half element 16 + j.

struct Q4_0 {
  static constexpr int kSize = 32, kBytes = 18;
  static void block(const std::byte* b, float* out) {
    const float d = half_at(b);
    for (int j = 0; j < 16; ++j) {
      out[j] = d * static_cast<float>(low(b[2 + j]) - 8);
      out[16 + j] = d * static_cast<float>(high(b[2 + j]) - 8);
    }
  }
};

struct Q4_1 {
  static constexpr int kSize = 32, kBytes = 20;
  static void block(const std::byte* b, float* out) {
    const float d = half_at(b), m = half_at(b + 2);
    for (int j = 0; j < 16; ++j) {
      out[j] = d * static_cast<float>(low(b[4 + j])) + m;
      out[16 + j] = d * static_cast<float>(high(b[4 + j])) + m;
    }
  }
};

struct Q5_0 {
  static constexpr int kSize = 32, kBytes = 22;
  static void block(const std::byte* b, float* out) {
    const float d = half_at(b);
    const auto fifth = load<uint32_t>(b + 2);
    for (int j = 0; j < 16; ++j) {
      out[j] = d * static_cast<float>((low(b[6 + j]) | static_cast<int>(((fifth >> j) & 1) << 4)) - 16);
      out[16 + j] = d * static_cast<float>((high(b[6 + j]) | static_cast<int>(((fifth >> (16 + j)) & 1) << 4)) - 16);
    }
  }
};

struct Q5_1 {
  static constexpr int kSize = 32, kBytes = 24;
  static void block(const std::byte* b, float* out) {
    const float d = half_at(b), m = half_at(b + 2);
    const auto fifth = load<uint32_t>(b + 4);
    for (int j = 0; j < 16; ++j) {
      out[j] = d * static_cast<float>(low(b[8 + j]) | static_cast<int>(((fifth >> j) & 1) << 4)) + m;
      out[16 + j] = d * static_cast<float>(high(b[8 + j]) | static_cast<int>(((fifth >> (16 + j)) & 1) << 4)) + m;
    }
  }
};

struct Q8_0 {
  static constexpr int kSize = 32, kBytes = 34;
  static void block(const std::byte* b, float* out) {
    const float d = half_at(b);
    for (int i = 0; i < 32; ++i) out[i] = d * static_cast<float>(i8(b[2 + i]));
  }
};

struct IQ4_NL {
  static constexpr int kSize = 32, kBytes = 18;
  static void block(const std::byte* b, float* out) {
    const float d = half_at(b);
    for (int j = 0; j < 16; ++j) {
      out[j] = d * static_cast<float>(kIq4[static_cast<size_t>(low(b[2 + j]))]);
      out[16 + j] = d * static_cast<float>(kIq4[static_cast<size_t>(high(b[2 + j]))]);
    }
  }
};

// Super-blocks of 256.

struct Q2_K {  // scales[16] (low: scale, high: minimum), qs[64], d, dmin
  static constexpr int kSize = 256, kBytes = 84;
  static void block(const std::byte* b, float* out) {
    const float d = half_at(b + 80), dmin = half_at(b + 82);
    for (int group = 0; group < 16; ++group) {
      const float scale = d * static_cast<float>(low(b[group])), minimum = dmin * static_cast<float>(high(b[group]));
      const int first = 16 * group, shift = 2 * ((first % 128) / 32);
      const std::byte* qs = b + 16 + 32 * (first / 128) + first % 32;
      for (int i = 0; i < 16; ++i) out[first + i] = scale * static_cast<float>((u8(qs[i]) >> shift) & 3) - minimum;
    }
  }
};

struct Q3_K {  // hmask[32], qs[64], scales[12], d
  static constexpr int kSize = 256, kBytes = 110;
  static int scale_of(const std::byte* scales, int group) {
    const int low4 = group < 8 ? low(scales[group]) : high(scales[group - 8]);
    const int high2 = (u8(scales[8 + group % 4]) >> (2 * (group / 4))) & 3;
    return low4 | high2 << 4;
  }
  static void block(const std::byte* b, float* out) {
    const float d = half_at(b + 108);
    for (int group = 0; group < 16; ++group) {
      const float scale = d * static_cast<float>(scale_of(b + 96, group) - 32);
      const int first = 16 * group, shift = 2 * ((first % 128) / 32), bit = first / 32;
      const std::byte* qs = b + 32 + 32 * (first / 128) + first % 32;
      const std::byte* mask = b + first % 32;
      for (int i = 0; i < 16; ++i) {
        const int q = ((u8(qs[i]) >> shift) & 3) - (((u8(mask[i]) >> bit) & 1) != 0 ? 0 : 4);
        out[first + i] = scale * static_cast<float>(q);
      }
    }
  }
};

// 6-bit scale and minimum of group g in the 12 bytes shared by Q4_K and Q5_K: the first four of each lie in the low 6
// bits of bytes 0..3 and 4..7, the others in nibbles of bytes 8..11 with their top 2 bits above the first ones.
struct ScaleAndMin {
  int scale, minimum;
};
ScaleAndMin k_scales(const std::byte* s, int g) {
  if (g < 4) return {u8(s[g]) & 63, u8(s[g + 4]) & 63};
  return {low(s[g + 4]) | (u8(s[g - 4]) >> 6) << 4, high(s[g + 4]) | (u8(s[g]) >> 6) << 4};
}

struct Q4_K {  // d, dmin, scales[12], qs[128]
  static constexpr int kSize = 256, kBytes = 144;
  static void block(const std::byte* b, float* out) {
    const float d = half_at(b), dmin = half_at(b + 2);
    for (int g = 0; g < 8; ++g) {
      const auto [s, m] = k_scales(b + 4, g);
      const float scale = d * static_cast<float>(s), minimum = dmin * static_cast<float>(m);
      const std::byte* qs = b + 16 + 32 * (g / 2);
      const int shift = 4 * (g % 2);
      for (int i = 0; i < 32; ++i) out[32 * g + i] = scale * static_cast<float>((u8(qs[i]) >> shift) & 15) - minimum;
    }
  }
};

struct Q5_K {  // d, dmin, scales[12], qh[32], qs[128]
  static constexpr int kSize = 256, kBytes = 176;
  static void block(const std::byte* b, float* out) {
    const float d = half_at(b), dmin = half_at(b + 2);
    for (int g = 0; g < 8; ++g) {
      const auto [s, m] = k_scales(b + 4, g);
      const float scale = d * static_cast<float>(s), minimum = dmin * static_cast<float>(m);
      const std::byte* qh = b + 16;
      const std::byte* qs = b + 48 + 32 * (g / 2);
      const int shift = 4 * (g % 2);
      for (int i = 0; i < 32; ++i) {
        const int q = ((u8(qs[i]) >> shift) & 15) + 16 * ((u8(qh[i]) >> g) & 1);
        out[32 * g + i] = scale * static_cast<float>(q) - minimum;
      }
    }
  }
};

struct Q6_K {  // ql[128], qh[64], scales[16] signed, d
  static constexpr int kSize = 256, kBytes = 210;
  static void block(const std::byte* b, float* out) {
    const float d = half_at(b + 208);
    for (int group = 0; group < 16; ++group) {
      const float scale = d * static_cast<float>(i8(b[192 + group]));
      const int first = 16 * group, half = first / 128, quarter = (first % 128) / 32, l = first % 32;
      const std::byte* ql = b + 64 * half + 32 * (quarter & 1) + l;
      const std::byte* qh = b + 128 + 32 * half + l;
      const int low_shift = quarter < 2 ? 0 : 4, high_shift = 2 * quarter;
      for (int i = 0; i < 16; ++i) {
        const int q = ((u8(ql[i]) >> low_shift) & 15) | ((u8(qh[i]) >> high_shift) & 3) << 4;
        out[first + i] = scale * static_cast<float>(q - 32);
      }
    }
  }
};

struct IQ4_XS {  // d, scales_h (u16), scales_l[4], qs[128]
  static constexpr int kSize = 256, kBytes = 136;
  static void block(const std::byte* b, float* out) {
    const float d = half_at(b);
    const int scales_high = load<uint16_t>(b + 2);
    for (int g = 0; g < 8; ++g) {
      const int s = ((u8(b[4 + g / 2]) >> (4 * (g % 2))) & 15) | ((scales_high >> (2 * g)) & 3) << 4;
      const float scale = d * static_cast<float>(s - 32);
      const std::byte* qs = b + 8 + 16 * g;
      for (int i = 0; i < 16; ++i) {
        out[32 * g + i] = scale * static_cast<float>(kIq4[static_cast<size_t>(low(qs[i]))]);
        out[32 * g + 16 + i] = scale * static_cast<float>(kIq4[static_cast<size_t>(high(qs[i]))]);
      }
    }
  }
};

template <typename Type>
void blocks_of(const std::byte* blocks, int64_t elements, float* out) {
  for (int64_t i = 0; i < elements / Type::kSize; ++i) Type::block(blocks + i * Type::kBytes, out + i * Type::kSize);
}

}  // namespace

void dequantize(TensorType type, const std::byte* blocks, int64_t elements, float* out) noexcept {
  switch (type) {
    case TensorType::f32:
      std::memcpy(out, blocks, static_cast<size_t>(elements) * sizeof(float));
      return;
    case TensorType::f16:
      for (int64_t i = 0; i < elements; ++i) out[i] = half_at(blocks + 2 * i);
      return;
    case TensorType::bf16:
      for (int64_t i = 0; i < elements; ++i)
        out[i] = std::bit_cast<float>(uint32_t{load<uint16_t>(blocks + 2 * i)} << 16);
      return;
    case TensorType::q4_0:
      return blocks_of<Q4_0>(blocks, elements, out);
    case TensorType::q4_1:
      return blocks_of<Q4_1>(blocks, elements, out);
    case TensorType::q5_0:
      return blocks_of<Q5_0>(blocks, elements, out);
    case TensorType::q5_1:
      return blocks_of<Q5_1>(blocks, elements, out);
    case TensorType::q8_0:
      return blocks_of<Q8_0>(blocks, elements, out);
    case TensorType::q2_k:
      return blocks_of<Q2_K>(blocks, elements, out);
    case TensorType::q3_k:
      return blocks_of<Q3_K>(blocks, elements, out);
    case TensorType::q4_k:
      return blocks_of<Q4_K>(blocks, elements, out);
    case TensorType::q5_k:
      return blocks_of<Q5_K>(blocks, elements, out);
    case TensorType::q6_k:
      return blocks_of<Q6_K>(blocks, elements, out);
    case TensorType::iq4_nl:
      return blocks_of<IQ4_NL>(blocks, elements, out);
    case TensorType::iq4_xs:
      return blocks_of<IQ4_XS>(blocks, elements, out);
  }
}

}  // namespace arkit::gguf
