#include <arkit/sdk/bit_pack.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <type_traits>

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

// AWQ: the eight codes that one input has in eight outputs make B bytes of the stream, so a lane of 8B bits or more
// holds them: code of slot j at bit j * B. A loop over inputs fills such lanes with plain shifts and vectorises. Lanes
// are made for 8 kAwqGroups outputs and kAwqInputs inputs (whole cache lines of every row of codes) and then turned, as
// the result has inputs as rows.
constexpr int64_t kAwqInputs = 256;
constexpr int64_t kAwqGroups = 16;  // of eight outputs

// Two, four and eight codes in the narrowest types that hold them: narrow lanes are more of them in a register.
template <int B>
using AwqPair = std::conditional_t<(B <= 4), uint8_t, uint16_t>;
template <int B>
using AwqQuad = std::conditional_t<(B <= 4), uint16_t, uint32_t>;
template <int B>
using AwqLane = std::conditional_t<(B <= 4), uint32_t, uint64_t>;

template <int B>
struct AwqTile {
  alignas(64) AwqLane<B> lanes[kAwqGroups][kAwqInputs];
};

// codes: eight rows of one group, `in` apart.
template <int B>
void gather_lanes(const uint8_t* codes, int64_t in, int64_t inputs, AwqLane<B>* lanes) {
  constexpr AwqPair<B> code = (1 << B) - 1;
  std::array<const uint8_t*, 8> rows;
  for (size_t slot = 0; slot < 8; ++slot) rows[slot] = codes + kAwqOrder[slot] * in;
  const auto pair = [&](size_t slot, int64_t i) {
    return static_cast<AwqPair<B>>((rows[slot][i] & code) | ((rows[slot + 1][i] & code) << B));
  };
  const auto quad = [&](size_t slot, int64_t i) {
    return static_cast<AwqQuad<B>>(pair(slot, i) | (static_cast<AwqQuad<B>>(pair(slot + 2, i)) << (2 * B)));
  };
  for (int64_t i = 0; i < inputs; ++i) lanes[i] = quad(0, i) | (static_cast<AwqLane<B>>(quad(4, i)) << (4 * B));
}

template <int B>
void scatter_lanes(const AwqLane<B>* lanes, int64_t in, int64_t inputs, uint8_t* codes) {
  constexpr AwqLane<B> code = (AwqLane<B>{1} << B) - 1;
  for (size_t slot = 0; slot < 8; ++slot) {
    uint8_t* row = codes + kAwqOrder[slot] * in;
    for (int64_t i = 0; i < inputs; ++i) row[i] = static_cast<uint8_t>((lanes[i] >> (slot * B)) & code);
  }
}

// Groups whose B bytes may be moved as a whole lane: what is moved too much lies in the next group, not past the last.
template <int B>
int64_t whole_lanes(int64_t groups) {
  constexpr int64_t span = (static_cast<int64_t>(sizeof(AwqLane<B>)) + B - 1) / B;
  return std::max<int64_t>(0, groups - span + 1);
}

// One row of the result from lanes kAwqInputs apart, in order, since each lane overwrites what the one before it stored
// too much.
template <int B>
void store_lanes(const AwqLane<B>* lanes, int64_t groups, uint8_t* packed) {
  const int64_t whole = whole_lanes<B>(groups);
  for (int64_t g = 0; g < whole; ++g) std::memcpy(packed + g * B, lanes + g * kAwqInputs, sizeof(AwqLane<B>));
  for (int64_t g = whole; g < groups; ++g) store_stream<B>(packed + g * B, lanes[g * kAwqInputs]);
}

template <int B>
void load_lanes(const uint8_t* packed, int64_t groups, AwqLane<B>* lanes) {
  const int64_t whole = whole_lanes<B>(groups);
  for (int64_t g = 0; g < whole; ++g) std::memcpy(lanes + g * kAwqInputs, packed + g * B, sizeof(AwqLane<B>));
  for (int64_t g = whole; g < groups; ++g)
    lanes[g * kAwqInputs] = static_cast<AwqLane<B>>(load_stream<B>(packed + g * B));
}

// Calls f(tile origin in inputs, inputs, tile origin in groups, groups) for every tile of inputs [begin, end).
template <typename F>
void for_awq_tiles(int64_t out, int64_t begin, int64_t end, F f) {
  for (int64_t i0 = begin; i0 < end; i0 += kAwqInputs)
    for (int64_t g0 = 0; g0 < out / 8; g0 += kAwqGroups)
      f(i0, std::min(kAwqInputs, end - i0), g0, std::min(kAwqGroups, out / 8 - g0));
}

template <int B>
void pack_awq_columns_b(const uint8_t* codes, int64_t out, int64_t in, int64_t begin, int64_t end, uint8_t* packed) {
  const int64_t row_bytes = out / 8 * B;
  AwqTile<B> tile;
  for_awq_tiles(out, begin, end, [&](int64_t i0, int64_t inputs, int64_t g0, int64_t groups) {
    for (int64_t g = 0; g < groups; ++g) gather_lanes<B>(codes + (g0 + g) * 8 * in + i0, in, inputs, tile.lanes[g]);
    for (int64_t i = 0; i < inputs; ++i)
      store_lanes<B>(&tile.lanes[0][i], groups, packed + (i0 + i) * row_bytes + g0 * B);
  });
}

template <int B>
void unpack_awq_columns_b(const uint8_t* packed, int64_t out, int64_t in, int64_t begin, int64_t end, uint8_t* codes) {
  const int64_t row_bytes = out / 8 * B;
  AwqTile<B> tile;
  for_awq_tiles(out, begin, end, [&](int64_t i0, int64_t inputs, int64_t g0, int64_t groups) {
    for (int64_t i = 0; i < inputs; ++i)
      load_lanes<B>(packed + (i0 + i) * row_bytes + g0 * B, groups, &tile.lanes[0][i]);
    for (int64_t g = 0; g < groups; ++g) scatter_lanes<B>(tile.lanes[g], in, inputs, codes + (g0 + g) * 8 * in + i0);
  });
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
