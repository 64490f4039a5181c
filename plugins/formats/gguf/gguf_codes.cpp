#include "gguf_codes.h"

#include <array>
#include <cstring>
#include <type_traits>

#include <arkit/sdk/float16.h>
#include <arkit/sdk/gguf_scales.h>

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

// What codes that are places in a table are worth, `zero` of the layout added: E2M1 twice, so that they are whole.
constexpr std::array<uint8_t, 16> kIq4{1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241};
constexpr std::array<uint8_t, 16> kE2m1{128, 129, 130, 131, 132, 134, 136, 140, 128, 127, 126, 125, 124, 122, 120, 116};
constexpr std::array<uint8_t, 4> kTrits{127, 128, 129, 130};

// Blocks of 32: nibble j holds element j, its high half element 16 + j.
void nibbles(const std::byte* b, uint8_t* codes) {
  for (int j = 0; j < 16; ++j) {
    codes[j] = code(low(b[j]));
    codes[16 + j] = code(high(b[j]));
  }
}

void five_bits(const std::byte* fifth_bits, const std::byte* b, uint8_t* codes) {
  const auto fifth = load<uint32_t>(fifth_bits);
  for (int j = 0; j < 16; ++j) {
    codes[j] = code(low(b[j]) | static_cast<int>(((fifth >> j) & 1) << 4));
    codes[16 + j] = code(high(b[j]) | static_cast<int>(((fifth >> (16 + j)) & 1) << 4));
  }
}

struct Q4_0 {
  static constexpr int kSize = 32, kBytes = 18;
  static constexpr CodeLayout kLayout{4, 32, false};
  static void block(const std::byte* b, const BlockParts& to) {
    *to.d = half_at(b);
    nibbles(b + 2, to.codes);
  }
};

struct Q4_1 {
  static constexpr int kSize = 32, kBytes = 20;
  static constexpr CodeLayout kLayout{4, 32, true};
  static void block(const std::byte* b, const BlockParts& to) {
    *to.d = half_at(b);
    *to.dmin = -half_at(b + 2);
    nibbles(b + 4, to.codes);
  }
};

struct Q5_0 {
  static constexpr int kSize = 32, kBytes = 22;
  static constexpr CodeLayout kLayout{5, 32, false};
  static void block(const std::byte* b, const BlockParts& to) {
    *to.d = half_at(b);
    five_bits(b + 2, b + 6, to.codes);
  }
};

struct Q5_1 {
  static constexpr int kSize = 32, kBytes = 24;
  static constexpr CodeLayout kLayout{5, 32, true};
  static void block(const std::byte* b, const BlockParts& to) {
    *to.d = half_at(b);
    *to.dmin = -half_at(b + 2);
    five_bits(b + 4, b + 8, to.codes);
  }
};

struct Q8_0 {
  static constexpr int kSize = 32, kBytes = 34;
  static constexpr CodeLayout kLayout{8, 32, false};
  static void block(const std::byte* b, const BlockParts& to) {
    *to.d = half_at(b);
    for (int i = 0; i < 32; ++i) to.codes[i] = code(u8(b[2 + i]) ^ 128);
  }
};

struct IQ4_NL {
  static constexpr int kSize = 32, kBytes = 18;
  static constexpr CodeLayout kLayout{8, 32, false};
  static void block(const std::byte* b, const BlockParts& to) {
    *to.d = half_at(b);
    nibbles(b + 2, to.codes);
  }
};

// Super-blocks of 256.

// Two bits of each code: byte 32 (e / 128) + e mod 32 at 2 (e mod 128 / 32).
void twos(const std::byte* b, uint8_t* codes) {
  for (int half = 0; half < 2; ++half, b += 32)
    for (int shift = 0; shift < 8; shift += 2, codes += 32)
      for (int i = 0; i < 32; ++i) codes[i] = code((u8(b[i]) >> shift) & 3);
}

struct Q2_K {  // scales[16] (low: scale, high: minimum), qs[64], d, dmin
  static constexpr int kSize = 256, kBytes = 84;
  static constexpr CodeLayout kLayout{2, 16, true};
  static void block(const std::byte* b, const BlockParts& to) {
    *to.d = half_at(b + 80);
    *to.dmin = half_at(b + 82);
    for (int group = 0; group < 16; ++group) {
      to.scales[group] = static_cast<int8_t>(low(b[group]));
      to.minima[group] = code(high(b[group]));
    }
    twos(b + 16, to.codes);
  }
};

struct Q3_K {  // hmask[32], qs[64], scales[12], d
  static constexpr int kSize = 256, kBytes = 110;
  static constexpr CodeLayout kLayout{3, 16, false};
  static void block(const std::byte* b, const BlockParts& to) {
    *to.d = half_at(b + 108);
    const std::byte* scales = b + 96;
    for (int group = 0; group < 16; ++group) {
      const int low4 = group < 8 ? low(scales[group]) : high(scales[group - 8]);
      const int high2 = (u8(scales[8 + group % 4]) >> (2 * (group / 4))) & 3;
      to.scales[group] = static_cast<int8_t>((low4 | high2 << 4) - 32);
    }
    twos(b + 32, to.codes);
    for (int bit = 0; bit < 8; ++bit)
      for (int i = 0; i < 32; ++i) to.codes[32 * bit + i] |= code(((u8(b[i]) >> bit) & 1) << 2);
  }
};

// 6-bit scale and minimum of group g in the 12 bytes shared by Q4_K and Q5_K: the first four of each lie in the low 6
// bits of bytes 0..3 and 4..7, the others in nibbles of bytes 8..11 with their top 2 bits above the first ones.
void k_scales(const std::byte* s, const BlockParts& to) {
  for (int g = 0; g < 8; ++g) {
    to.scales[g] = static_cast<int8_t>(g < 4 ? u8(s[g]) & 63 : low(s[g + 4]) | (u8(s[g - 4]) >> 6) << 4);
    to.minima[g] = code(g < 4 ? u8(s[g + 4]) & 63 : high(s[g + 4]) | (u8(s[g]) >> 6) << 4);
  }
}

// Byte 32 (g / 2) + e mod 32 holds groups g and g + 1 of 32.
void k_nibbles(const std::byte* b, uint8_t* codes) {
  for (int pair = 0; pair < 4; ++pair, b += 32, codes += 64)
    for (int i = 0; i < 32; ++i) {
      codes[i] = code(low(b[i]));
      codes[32 + i] = code(high(b[i]));
    }
}

struct Q4_K {  // d, dmin, scales[12], qs[128]
  static constexpr int kSize = 256, kBytes = 144;
  static constexpr CodeLayout kLayout{4, 32, true};
  static void block(const std::byte* b, const BlockParts& to) {
    *to.d = half_at(b);
    *to.dmin = half_at(b + 2);
    k_scales(b + 4, to);
    k_nibbles(b + 16, to.codes);
  }
};

struct Q5_K {  // d, dmin, scales[12], qh[32], qs[128]
  static constexpr int kSize = 256, kBytes = 176;
  static constexpr CodeLayout kLayout{5, 32, true};
  static void block(const std::byte* b, const BlockParts& to) {
    *to.d = half_at(b);
    *to.dmin = half_at(b + 2);
    k_scales(b + 4, to);
    k_nibbles(b + 48, to.codes);
    for (int g = 0; g < 8; ++g)
      for (int i = 0; i < 32; ++i) to.codes[32 * g + i] |= code(((u8(b[16 + i]) >> g) & 1) << 4);
  }
};

struct Q6_K {  // ql[128], qh[64], scales[16] signed, d
  static constexpr int kSize = 256, kBytes = 210;
  static constexpr CodeLayout kLayout{6, 16, false};
  static void block(const std::byte* b, const BlockParts& to) {
    *to.d = half_at(b + 208);
    for (int group = 0; group < 16; ++group) to.scales[group] = static_cast<int8_t>(i8(b[192 + group]));
    twos(b + 128, to.codes);
    for (int half = 0; half < 2; ++half)
      for (int i = 0; i < 64; ++i) {
        uint8_t* codes = to.codes + 128 * half + i;
        const std::byte both = b[64 * half + i];
        codes[0] = code(codes[0] << 4 | low(both));
        codes[64] = code(codes[64] << 4 | high(both));
      }
  }
};

struct IQ4_XS {  // d, scales_h (u16), scales_l[4], qs[128]
  static constexpr int kSize = 256, kBytes = 136;
  static constexpr CodeLayout kLayout{8, 32, false};
  static void block(const std::byte* b, const BlockParts& to) {
    *to.d = half_at(b);
    const int scales_high = load<uint16_t>(b + 2);
    for (int g = 0; g < 8; ++g) {
      const int s = ((u8(b[4 + g / 2]) >> (4 * (g % 2))) & 15) | ((scales_high >> (2 * g)) & 3) << 4;
      to.scales[g] = static_cast<int8_t>(s - 32);
      nibbles(b + 8 + 16 * g, to.codes + 32 * g);
    }
  }
};

struct MXFP4 {  // e, qs[16]
  static constexpr int kSize = 32, kBytes = 17;
  static constexpr CodeLayout kLayout{8, 32, false};
  static void block(const std::byte* b, const BlockParts& to) {
    *to.d = sdk::half_of_e8m0(static_cast<uint8_t>(b[0]));
    nibbles(b + 1, to.codes);
  }
};

struct NVFP4 {  // scales[4], then 16 weights in 8 bytes: element i low, 8 + i high
  static constexpr int kSize = 64, kBytes = 36;
  static constexpr CodeLayout kLayout{8, 16, false};
  static void block(const std::byte* b, const BlockParts& to) {
    *to.d = 1;
    for (int g = 0; g < 4; ++g) {
      to.scales[g] = static_cast<int8_t>(i8(b[g]));
      for (int i = 0; i < 8; ++i) {
        const std::byte both = b[4 + 8 * g + i];
        to.codes[16 * g + i] = code(low(both));
        to.codes[16 * g + 8 + i] = code(high(both));
      }
    }
  }
};

// Digit n of a byte in base 3, the first the most significant: bytes are their number in 243rds of 256.
int trit(std::byte b, int n) {
  constexpr std::array<int, 5> kPowers{1, 3, 9, 27, 81};
  return ((u8(b) * kPowers[static_cast<size_t>(n)] & 255) * 3) >> 8;
}

struct TQ1_0 {  // qs[48] with five digits, qh[4] with four, d
  static constexpr int kSize = 256, kBytes = 54;
  static constexpr CodeLayout kLayout{8, 256, false};
  static void block(const std::byte* b, const BlockParts& to) {
    *to.d = half_at(b + 52);
    for (int n = 0; n < 5; ++n) {
      for (int m = 0; m < 32; ++m) to.codes[32 * n + m] = code(trit(b[m], n));
      for (int m = 0; m < 16; ++m) to.codes[160 + 16 * n + m] = code(trit(b[32 + m], n));
    }
    for (int n = 0; n < 4; ++n)
      for (int j = 0; j < 4; ++j) to.codes[240 + 4 * n + j] = code(trit(b[48 + j], n));
  }
};

struct TQ2_0 {  // qs[64], d
  static constexpr int kSize = 256, kBytes = 66;
  static constexpr CodeLayout kLayout{8, 256, false};
  static void block(const std::byte* b, const BlockParts& to) {
    *to.d = half_at(b + 64);
    twos(b, to.codes);
  }
};

template <typename Type>
constexpr const uint8_t* kTable = nullptr;
template <>
constexpr const uint8_t* kTable<IQ4_NL> = kIq4.data();
template <>
constexpr const uint8_t* kTable<IQ4_XS> = kIq4.data();
template <>
constexpr const uint8_t* kTable<MXFP4> = kE2m1.data();
template <>
constexpr const uint8_t* kTable<NVFP4> = kE2m1.data();
template <>
constexpr const uint8_t* kTable<TQ1_0> = kTrits.data();
template <>
constexpr const uint8_t* kTable<TQ2_0> = kTrits.data();

// Types of 256 have scales that are codes of a step, but those of three values.
template <typename Type>
constexpr bool kSuper = Type::kSize == 256 && Type::kLayout.group_size < 256;

template <typename Type>
float scale_of(float d, int8_t code) {
  if (std::is_same_v<Type, NVFP4>) return sdk::half_of_ue4m3(static_cast<uint8_t>(code));
  return kSuper<Type> ? d * static_cast<float>(code) : d;
}

// Scales of super-blocks are multiplied out: the products have at most 19 digits and are exact.
template <typename Type>
void blocks_of(const std::byte* blocks, int64_t elements, uint8_t* codes, float* scales, float* offsets) {
  constexpr int kGroups = Type::kSize / Type::kLayout.group_size;
  constexpr bool kOffsets = Type::kLayout.has_offsets;
  static_assert(Type::kSize <= kMostBlock && kGroups <= kMostGroups);
  for (int64_t i = 0; i < elements / Type::kSize; ++i, codes += Type::kSize, scales += kGroups) {
    float d, dmin;
    std::array<int8_t, kMostGroups> scale_codes;
    std::array<uint8_t, kMostGroups> minima;
    Type::block(blocks + i * Type::kBytes, {codes, &d, &dmin, scale_codes.data(), minima.data()});
    for (int g = 0; g < kGroups; ++g) {
      const auto at = static_cast<size_t>(g);
      scales[g] = scale_of<Type>(d, scale_codes[at]);
      if (kOffsets) offsets[g] = kSuper<Type> ? -(dmin * static_cast<float>(minima[at])) : -dmin;
    }
    if (kOffsets) offsets += kGroups;
    if (kTable<Type> != nullptr)
      for (int k = 0; k < Type::kSize; ++k) codes[k] = kTable<Type>[codes[k]];
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
    case TensorType::mxfp4:
      return use(MXFP4{});
    case TensorType::nvfp4:
      return use(NVFP4{});
    case TensorType::tq1_0:
      return use(TQ1_0{});
    case TensorType::tq2_0:
      return use(TQ2_0{});
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
  with_type(type, [&](auto one) { blocks_of<decltype(one)>(blocks, elements, codes, scales, offsets); });
}

void decode_block(TensorType type, const std::byte* block, const BlockParts& to) noexcept {
  with_type(type, [&](auto one) { decltype(one)::block(block, to); });
}

}  // namespace arkit::gguf
