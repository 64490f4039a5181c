// The `_ref` twins: docs/spec/packing.md 1 read aloud, one code at a time.
#include <arkit/sdk/bit_pack.h>

#include <cstring>
#include <vector>

namespace arkit::sdk {
namespace {

uint32_t low_bits(uint8_t code, int bits) {
  return code & ((1U << bits) - 1U);
}

}  // namespace

void pack_row_ref(const uint8_t* codes, int64_t count, int bits, uint8_t* packed) {
  std::memset(packed, 0, static_cast<size_t>(count * bits / 8));
  for (int64_t i = 0; i < count; ++i) {
    for (int b = 0; b < bits; ++b) {
      const int64_t at = i * bits + b;
      const uint32_t bit = (low_bits(codes[i], bits) >> b) & 1U;
      packed[at / 8] = static_cast<uint8_t>(packed[at / 8] | (bit << (at % 8)));
    }
  }
}

void unpack_row_ref(const uint8_t* packed, int64_t count, int bits, uint8_t* codes) {
  for (int64_t i = 0; i < count; ++i) {
    uint32_t code = 0;
    for (int b = 0; b < bits; ++b) {
      const int64_t at = i * bits + b;
      code |= ((static_cast<uint32_t>(packed[at / 8]) >> (at % 8)) & 1U) << b;
    }
    codes[i] = static_cast<uint8_t>(code);
  }
}

void pack_columns_ref(const uint8_t* codes, int64_t out, int64_t in, int bits, int64_t begin, int64_t end,
                      uint32_t* words) {
  for (int64_t o = begin; o < end; ++o) {
    for (int64_t j = 0; j < in / 32; ++j) {
      std::vector<uint32_t> word(static_cast<size_t>(bits) + 1);
      for (int i = 0; i < 32; ++i) {
        const uint32_t code = low_bits(codes[o * in + j * 32 + i], bits);
        const int at = i * bits / 32;
        const int offset = i * bits % 32;
        word[static_cast<size_t>(at)] |= code << offset;
        if (offset + bits > 32) word[static_cast<size_t>(at) + 1] |= code >> (32 - offset);
      }
      for (int k = 0; k < bits; ++k) words[(j * bits + k) * out + o] = word[static_cast<size_t>(k)];
    }
  }
}

void pack_awq_columns_ref(const uint8_t* codes, int64_t out, int64_t in, int bits, int64_t begin, int64_t end,
                          uint8_t* packed) {
  std::vector<uint8_t> row(static_cast<size_t>(out));
  for (int64_t i = begin; i < end; ++i) {
    for (int64_t o = 0; o < out; ++o) row[static_cast<size_t>(o)] = codes[(o / 8 * 8 + kAwqOrder[o % 8]) * in + i];
    pack_row_ref(row.data(), out, bits, packed + i * (out / 8 * bits));
  }
}

}  // namespace arkit::sdk
