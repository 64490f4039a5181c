#include <arkit/sdk/bit_pack.h>

#include <algorithm>
#include <bit>
#include <cstring>

static_assert(std::endian::native == std::endian::little, "the packed formats are little endian; so is this code");

namespace arkit::sdk {
namespace {

// Eight codes, one a byte (code 0 in the lowest), -> 8 * B bits (code 0 in the lowest).
//   bytes      ..h ..g ..f ..e ..d ..c ..b ..a      pairs: lanes of 16 bits holding 2B bits
//   16-bit     ....hg  ....fe  ....dc  ....ba       lanes of 32 bits holding 4B bits
//   32-bit     ........hgfe    ........dcba         one lane of 64 bits holding 8B bits
template <int B>
inline uint64_t squeeze(uint64_t x) {
  constexpr uint64_t code = (uint64_t{1} << B) - 1;
  constexpr uint64_t low8 = code * 0x0001000100010001U;
  x = (x & low8) | ((x >> (8 - B)) & (low8 << B));
  constexpr uint64_t pair = (uint64_t{1} << (2 * B)) - 1;
  constexpr uint64_t low16 = pair * 0x0000000100000001U;
  x = (x & low16) | ((x >> (16 - 2 * B)) & (low16 << (2 * B)));
  constexpr uint64_t quad = (uint64_t{1} << (4 * B)) - 1;
  return (x & quad) | ((x >> 32) << (4 * B));
}

template <int B>
inline uint64_t spread(uint64_t x) {
  constexpr uint64_t quad = (uint64_t{1} << (4 * B)) - 1;
  x = (x & quad) | (((x >> (4 * B)) & quad) << 32);
  constexpr uint64_t low16 = ((uint64_t{1} << (2 * B)) - 1) * 0x0000000100000001U;
  x = (x & low16) | ((x << (16 - 2 * B)) & (low16 << 16));
  constexpr uint64_t low8 = ((uint64_t{1} << B) - 1) * 0x0001000100010001U;
  return (x & low8) | ((x << (8 - B)) & (low8 << 8));
}

inline uint64_t load8(const uint8_t* p) {
  uint64_t x = 0;
  std::memcpy(&x, p, 8);
  return x;
}

inline uint64_t load_some(const uint8_t* p, int64_t bytes) {
  uint64_t x = 0;
  std::memcpy(&x, p, static_cast<size_t>(bytes));
  return x;
}

template <int B>
inline uint64_t load_stream(const uint8_t* p) {
  uint64_t x = 0;
  std::memcpy(&x, p, B);
  return x;
}

template <int B>
inline void store_stream(uint8_t* p, uint64_t x) {
  std::memcpy(p, &x, B);
}

template <int B>
void pack_row_b(const uint8_t* codes, int64_t count, uint8_t* packed) {
  for (int64_t i = 0; i < count; i += 8) store_stream<B>(packed + i / 8 * B, squeeze<B>(load8(codes + i)));
}

template <int B>
void unpack_row_b(const uint8_t* packed, int64_t count, uint8_t* codes) {
  for (int64_t i = 0; i < count; i += 8) {
    const uint64_t x = spread<B>(load_stream<B>(packed + i / 8 * B));
    std::memcpy(codes + i, &x, 8);
  }
}

// Outputs handled together, so that each store to a row of `words` fills whole cache lines.
constexpr int64_t kTile = 32;

template <int B>
void pack_columns_b(const uint8_t* codes, int64_t out, int64_t in, int64_t begin, int64_t end, uint32_t* words) {
  uint32_t tile[B][kTile];
  for (int64_t o = begin; o < end; o += kTile) {
    const int64_t n = std::min(kTile, end - o);
    for (int64_t j = 0; j < in / 32; ++j) {
      for (int64_t t = 0; t < n; ++t) {
        uint8_t stream[4 * B];
        pack_row_b<B>(codes + (o + t) * in + j * 32, 32, stream);
        for (int k = 0; k < B; ++k) std::memcpy(&tile[k][t], stream + 4 * k, 4);
      }
      for (int k = 0; k < B; ++k)
        std::memcpy(words + (j * B + k) * out + o, tile[k], static_cast<size_t>(n) * sizeof(uint32_t));
    }
  }
}

template <int B>
void unpack_columns_b(const uint32_t* words, int64_t out, int64_t in, int64_t begin, int64_t end, uint8_t* codes) {
  uint32_t tile[B][kTile];
  for (int64_t o = begin; o < end; o += kTile) {
    const int64_t n = std::min(kTile, end - o);
    for (int64_t j = 0; j < in / 32; ++j) {
      for (int k = 0; k < B; ++k)
        std::memcpy(tile[k], words + (j * B + k) * out + o, static_cast<size_t>(n) * sizeof(uint32_t));
      for (int64_t t = 0; t < n; ++t) {
        uint8_t stream[4 * B];
        for (int k = 0; k < B; ++k) std::memcpy(stream + 4 * k, &tile[k][t], 4);
        unpack_row_b<B>(stream, 32, codes + (o + t) * in + j * 32);
      }
    }
  }
}

// Transposes an 8x8 block of bytes held in eight words: byte c of row r <-> byte r of row c.
inline void transpose8(uint64_t (&r)[8]) {
  const auto swap = [](uint64_t& a, uint64_t& b, int shift, uint64_t mask) {
    const uint64_t t = ((a >> shift) ^ b) & mask;
    b ^= t;
    a ^= t << shift;
  };
  for (int i = 0; i < 4; ++i) swap(r[i], r[i + 4], 32, 0x00000000FFFFFFFFU);
  for (const int i : {0, 1, 4, 5}) swap(r[i], r[i + 2], 16, 0x0000FFFF0000FFFFU);
  for (const int i : {0, 2, 4, 6}) swap(r[i], r[i + 1], 8, 0x00FF00FF00FF00FFU);
}

// One 8x8 block of codes gives b bytes in each of eight rows of the result. Loading the rows in the order of kAwqOrder
// makes the interleave free. A tile is 64 inputs (the codes of one output in a cache line) by 128 outputs; the last
// block is shorter when the number of inputs is no multiple of eight.
constexpr int64_t kAwqInputs = 64;
constexpr int64_t kAwqGroups = 16;  // of eight outputs

template <int B>
void pack_awq_columns_b(const uint8_t* codes, int64_t out, int64_t in, int64_t begin, int64_t end, uint8_t* packed) {
  const int64_t row_bytes = out / 8 * B;
  uint8_t tile[kAwqInputs][kAwqGroups * B];
  for (int64_t i0 = begin; i0 < end; i0 += kAwqInputs) {
    const int64_t inputs = std::min(kAwqInputs, end - i0);
    for (int64_t g0 = 0; g0 < out / 8; g0 += kAwqGroups) {
      const int64_t groups = std::min(kAwqGroups, out / 8 - g0);
      for (int64_t g = 0; g < groups; ++g) {
        for (int64_t i = 0; i < inputs; i += 8) {
          const int64_t n = std::min<int64_t>(8, inputs - i);
          uint64_t block[8] = {};
          for (int slot = 0; slot < 8; ++slot) {
            const uint8_t* row = codes + ((g0 + g) * 8 + kAwqOrder[slot]) * in + i0 + i;
            block[slot] = n == 8 ? load8(row) : load_some(row, n);
          }
          transpose8(block);
          for (int64_t t = 0; t < n; ++t) store_stream<B>(tile[i + t] + g * B, squeeze<B>(block[t]));
        }
      }
      for (int64_t i = 0; i < inputs; ++i)
        std::memcpy(packed + (i0 + i) * row_bytes + g0 * B, tile[i], static_cast<size_t>(groups * B));
    }
  }
}

template <int B>
void unpack_awq_columns_b(const uint8_t* packed, int64_t out, int64_t in, int64_t begin, int64_t end, uint8_t* codes) {
  const int64_t row_bytes = out / 8 * B;
  uint8_t tile[kAwqInputs][kAwqGroups * B];
  for (int64_t i0 = begin; i0 < end; i0 += kAwqInputs) {
    const int64_t inputs = std::min(kAwqInputs, end - i0);
    for (int64_t g0 = 0; g0 < out / 8; g0 += kAwqGroups) {
      const int64_t groups = std::min(kAwqGroups, out / 8 - g0);
      for (int64_t i = 0; i < inputs; ++i)
        std::memcpy(tile[i], packed + (i0 + i) * row_bytes + g0 * B, static_cast<size_t>(groups * B));
      for (int64_t g = 0; g < groups; ++g) {
        for (int64_t i = 0; i < inputs; i += 8) {
          const int64_t n = std::min<int64_t>(8, inputs - i);
          uint64_t block[8] = {};
          for (int64_t t = 0; t < n; ++t) block[t] = spread<B>(load_stream<B>(tile[i + t] + g * B));
          transpose8(block);
          for (int slot = 0; slot < 8; ++slot) {
            uint8_t* row = codes + ((g0 + g) * 8 + kAwqOrder[slot]) * in + i0 + i;
            std::memcpy(row, &block[slot], n == 8 ? 8 : static_cast<size_t>(n));
          }
        }
      }
    }
  }
}

// Calls f.template operator()<bits>().
template <typename F>
void with_bits(int bits, F f) {
  switch (bits) {
    case 1:
      return f.template operator()<1>();
    case 2:
      return f.template operator()<2>();
    case 3:
      return f.template operator()<3>();
    case 4:
      return f.template operator()<4>();
    case 5:
      return f.template operator()<5>();
    case 6:
      return f.template operator()<6>();
    case 7:
      return f.template operator()<7>();
    case 8:
      return f.template operator()<8>();
    default:
      return;
  }
}

}  // namespace

void pack_row(const uint8_t* codes, int64_t count, int bits, uint8_t* packed) {
  with_bits(bits, [&]<int B>() { pack_row_b<B>(codes, count, packed); });
}

void unpack_row(const uint8_t* packed, int64_t count, int bits, uint8_t* codes) {
  with_bits(bits, [&]<int B>() { unpack_row_b<B>(packed, count, codes); });
}

void pack_columns(const uint8_t* codes, int64_t out, int64_t in, int bits, int64_t begin, int64_t end,
                  uint32_t* words) {
  with_bits(bits, [&]<int B>() { pack_columns_b<B>(codes, out, in, begin, end, words); });
}

void unpack_columns(const uint32_t* words, int64_t out, int64_t in, int bits, int64_t begin, int64_t end,
                    uint8_t* codes) {
  with_bits(bits, [&]<int B>() { unpack_columns_b<B>(words, out, in, begin, end, codes); });
}

void pack_awq_columns(const uint8_t* codes, int64_t out, int64_t in, int bits, int64_t begin, int64_t end,
                      uint8_t* packed) {
  with_bits(bits, [&]<int B>() { pack_awq_columns_b<B>(codes, out, in, begin, end, packed); });
}

void unpack_awq_columns(const uint8_t* packed, int64_t out, int64_t in, int bits, int64_t begin, int64_t end,
                        uint8_t* codes) {
  with_bits(bits, [&]<int B>() { unpack_awq_columns_b<B>(packed, out, in, begin, end, codes); });
}

}  // namespace arkit::sdk
