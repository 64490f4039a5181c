#include "gguf_codes.h"

#include <array>
#include <cstring>

#include <arkit/sdk/float16.h>

namespace arkit::gguf {
namespace {

template <typename T>
T load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}
float half_at(const std::byte* at) {
  return sdk::float16_to_float(load<uint16_t>(at));
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
uint8_t code(int value) {
  return static_cast<uint8_t>(value);
}

// The values of a 4-bit code, 128 added.
constexpr std::array<uint8_t, 16> kIq4{1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241};

// Where a block goes.
struct Out {
  uint8_t* codes;
  float* scales;
  float* offsets;
};

// Blocks of 32: nibble j holds element j, its high half element 16 + j.

struct Q4_0 {
  static constexpr int kSize = 32, kBytes = 18;
  static constexpr CodeLayout kLayout{4, 32, false};
  static void block(const std::byte* b, const Out& out) {
    out.scales[0] = half_at(b);
    for (int j = 0; j < 16; ++j) {
      out.codes[j] = code(low(b[2 + j]));
      out.codes[16 + j] = code(high(b[2 + j]));
    }
  }
};

struct Q4_1 {
  static constexpr int kSize = 32, kBytes = 20;
  static constexpr CodeLayout kLayout{4, 32, true};
  static void block(const std::byte* b, const Out& out) {
    out.scales[0] = half_at(b);
    out.offsets[0] = half_at(b + 2);
    for (int j = 0; j < 16; ++j) {
      out.codes[j] = code(low(b[4 + j]));
      out.codes[16 + j] = code(high(b[4 + j]));
    }
  }
};

void five_bits(const std::byte* fifth_bits, const std::byte* nibbles, uint8_t* codes) {
  const auto fifth = load<uint32_t>(fifth_bits);
  for (int j = 0; j < 16; ++j) {
    codes[j] = code(low(nibbles[j]) | static_cast<int>(((fifth >> j) & 1) << 4));
    codes[16 + j] = code(high(nibbles[j]) | static_cast<int>(((fifth >> (16 + j)) & 1) << 4));
  }
}

struct Q5_0 {
  static constexpr int kSize = 32, kBytes = 22;
  static constexpr CodeLayout kLayout{5, 32, false};
  static void block(const std::byte* b, const Out& out) {
    out.scales[0] = half_at(b);
    five_bits(b + 2, b + 6, out.codes);
  }
};

struct Q5_1 {
  static constexpr int kSize = 32, kBytes = 24;
  static constexpr CodeLayout kLayout{5, 32, true};
  static void block(const std::byte* b, const Out& out) {
    out.scales[0] = half_at(b);
    out.offsets[0] = half_at(b + 2);
    five_bits(b + 4, b + 8, out.codes);
  }
};

struct Q8_0 {
  static constexpr int kSize = 32, kBytes = 34;
  static constexpr CodeLayout kLayout{8, 32, false};
  static void block(const std::byte* b, const Out& out) {
    out.scales[0] = half_at(b);
    for (int i = 0; i < 32; ++i) out.codes[i] = code(u8(b[2 + i]) ^ 128);
  }
};

struct IQ4_NL {
  static constexpr int kSize = 32, kBytes = 18;
  static constexpr CodeLayout kLayout{8, 32, false};
  static void block(const std::byte* b, const Out& out) {
    out.scales[0] = half_at(b);
    for (int j = 0; j < 16; ++j) {
      out.codes[j] = kIq4[static_cast<size_t>(low(b[2 + j]))];
      out.codes[16 + j] = kIq4[static_cast<size_t>(high(b[2 + j]))];
    }
  }
};

// Super-blocks of 256: scales of groups are codes of a second scale. The products have at most 19 digits and are exact.

struct Q2_K {  // scales[16] (low: scale, high: minimum), qs[64], d, dmin
  static constexpr int kSize = 256, kBytes = 84;
  static constexpr CodeLayout kLayout{2, 16, true};
  static void block(const std::byte* b, const Out& out) {
    const float d = half_at(b + 80), dmin = half_at(b + 82);
    for (int group = 0; group < 16; ++group) {
      out.scales[group] = d * static_cast<float>(low(b[group]));
      out.offsets[group] = -(dmin * static_cast<float>(high(b[group])));
      const int first = 16 * group, shift = 2 * ((first % 128) / 32);
      const std::byte* qs = b + 16 + 32 * (first / 128) + first % 32;
      for (int i = 0; i < 16; ++i) out.codes[first + i] = code((u8(qs[i]) >> shift) & 3);
    }
  }
};

struct Q3_K {  // hmask[32], qs[64], scales[12], d
  static constexpr int kSize = 256, kBytes = 110;
  static constexpr CodeLayout kLayout{3, 16, false};
  static int scale_of(const std::byte* scales, int group) {
    const int low4 = group < 8 ? low(scales[group]) : high(scales[group - 8]);
    const int high2 = (u8(scales[8 + group % 4]) >> (2 * (group / 4))) & 3;
    return low4 | high2 << 4;
  }
  static void block(const std::byte* b, const Out& out) {
    const float d = half_at(b + 108);
    for (int group = 0; group < 16; ++group) {
      out.scales[group] = d * static_cast<float>(scale_of(b + 96, group) - 32);
      const int first = 16 * group, shift = 2 * ((first % 128) / 32), bit = first / 32;
      const std::byte* qs = b + 32 + 32 * (first / 128) + first % 32;
      const std::byte* mask = b + first % 32;
      for (int i = 0; i < 16; ++i)
        out.codes[first + i] = code(((u8(qs[i]) >> shift) & 3) | ((u8(mask[i]) >> bit) & 1) << 2);
    }
  }
};

// 6-bit scale and minimum of group g in the 12 bytes shared by Q4_K and Q5_K: the first four of each lie in the low 6
// bits of bytes 0..3 and 4..7, the others in nibbles of bytes 8..11 with their top 2 bits above the first ones.
void k_scales(const std::byte* s, float d, float dmin, const Out& out) {
  for (int g = 0; g < 8; ++g) {
    const int scale = g < 4 ? u8(s[g]) & 63 : low(s[g + 4]) | (u8(s[g - 4]) >> 6) << 4;
    const int minimum = g < 4 ? u8(s[g + 4]) & 63 : high(s[g + 4]) | (u8(s[g]) >> 6) << 4;
    out.scales[g] = d * static_cast<float>(scale);
    out.offsets[g] = -(dmin * static_cast<float>(minimum));
  }
}

struct Q4_K {  // d, dmin, scales[12], qs[128]
  static constexpr int kSize = 256, kBytes = 144;
  static constexpr CodeLayout kLayout{4, 32, true};
  static void block(const std::byte* b, const Out& out) {
    k_scales(b + 4, half_at(b), half_at(b + 2), out);
    for (int g = 0; g < 8; ++g) {
      const std::byte* qs = b + 16 + 32 * (g / 2);
      const int shift = 4 * (g % 2);
      for (int i = 0; i < 32; ++i) out.codes[32 * g + i] = code((u8(qs[i]) >> shift) & 15);
    }
  }
};

struct Q5_K {  // d, dmin, scales[12], qh[32], qs[128]
  static constexpr int kSize = 256, kBytes = 176;
  static constexpr CodeLayout kLayout{5, 32, true};
  static void block(const std::byte* b, const Out& out) {
    k_scales(b + 4, half_at(b), half_at(b + 2), out);
    for (int g = 0; g < 8; ++g) {
      const std::byte* qh = b + 16;
      const std::byte* qs = b + 48 + 32 * (g / 2);
      const int shift = 4 * (g % 2);
      for (int i = 0; i < 32; ++i)
        out.codes[32 * g + i] = code(((u8(qs[i]) >> shift) & 15) | ((u8(qh[i]) >> g) & 1) << 4);
    }
  }
};

struct Q6_K {  // ql[128], qh[64], scales[16] signed, d
  static constexpr int kSize = 256, kBytes = 210;
  static constexpr CodeLayout kLayout{6, 16, false};
  static void block(const std::byte* b, const Out& out) {
    const float d = half_at(b + 208);
    for (int group = 0; group < 16; ++group) {
      out.scales[group] = d * static_cast<float>(i8(b[192 + group]));
      const int first = 16 * group, half = first / 128, quarter = (first % 128) / 32, l = first % 32;
      const std::byte* ql = b + 64 * half + 32 * (quarter & 1) + l;
      const std::byte* qh = b + 128 + 32 * half + l;
      const int low_shift = quarter < 2 ? 0 : 4, high_shift = 2 * quarter;
      for (int i = 0; i < 16; ++i)
        out.codes[first + i] = code(((u8(ql[i]) >> low_shift) & 15) | ((u8(qh[i]) >> high_shift) & 3) << 4);
    }
  }
};

struct IQ4_XS {  // d, scales_h (u16), scales_l[4], qs[128]
  static constexpr int kSize = 256, kBytes = 136;
  static constexpr CodeLayout kLayout{8, 32, false};
  static void block(const std::byte* b, const Out& out) {
    const float d = half_at(b);
    const int scales_high = load<uint16_t>(b + 2);
    for (int g = 0; g < 8; ++g) {
      const int s = ((u8(b[4 + g / 2]) >> (4 * (g % 2))) & 15) | ((scales_high >> (2 * g)) & 3) << 4;
      out.scales[g] = d * static_cast<float>(s - 32);
      const std::byte* qs = b + 8 + 16 * g;
      for (int i = 0; i < 16; ++i) {
        out.codes[32 * g + i] = kIq4[static_cast<size_t>(low(qs[i]))];
        out.codes[32 * g + 16 + i] = kIq4[static_cast<size_t>(high(qs[i]))];
      }
    }
  }
};

template <typename Type>
void blocks_of(const std::byte* blocks, int64_t elements, Out out) {
  constexpr int kGroups = Type::kSize / Type::kLayout.group_size;
  static_assert(Type::kSize <= kMostBlock && kGroups <= kMostGroups);
  for (int64_t i = 0; i < elements / Type::kSize; ++i) {
    Type::block(blocks + i * Type::kBytes, out);
    out.codes += Type::kSize;
    out.scales += kGroups;
    if (Type::kLayout.has_offsets) out.offsets += kGroups;
  }
}

// Calls `use` with the type's struct; nothing for types without codes.
template <typename Use>
void with_type(TensorType type, const Use& use) {
  switch (type) {
    case TensorType::q4_0:
      return use(Q4_0{});
    case TensorType::q4_1:
      return use(Q4_1{});
    case TensorType::q5_0:
      return use(Q5_0{});
    case TensorType::q5_1:
      return use(Q5_1{});
    case TensorType::q8_0:
      return use(Q8_0{});
    case TensorType::q2_k:
      return use(Q2_K{});
    case TensorType::q3_k:
      return use(Q3_K{});
    case TensorType::q4_k:
      return use(Q4_K{});
    case TensorType::q5_k:
      return use(Q5_K{});
    case TensorType::q6_k:
      return use(Q6_K{});
    case TensorType::iq4_nl:
      return use(IQ4_NL{});
    case TensorType::iq4_xs:
      return use(IQ4_XS{});
    case TensorType::f32:
    case TensorType::f16:
    case TensorType::bf16:
      return;
  }
}

}  // namespace

CodeLayout code_layout(TensorType type) noexcept {
  CodeLayout layout;
  with_type(type, [&](auto one) { layout = decltype(one)::kLayout; });
  return layout;
}

void decode(TensorType type, const std::byte* blocks, int64_t elements, uint8_t* codes, float* scales,
            float* offsets) noexcept {
  with_type(type, [&](auto one) { blocks_of<decltype(one)>(blocks, elements, {codes, scales, offsets}); });
}

}  // namespace arkit::gguf
