#include <arkit/sdk/bit_decode.h>

#include <algorithm>

namespace arkit::sdk {
namespace {

uint32_t mask(int bits) {
  return (1U << bits) - 1U;
}

// Where AWQ keeps output e of every eight: the inverse of the order {0, 2, 4, 6, 1, 3, 5, 7} in which slots are filled.
constexpr int64_t kAwqSlot[8] = {0, 4, 1, 5, 2, 6, 3, 7};

// Two neighbouring words as one number, from which a code that straddles them reads like any other. `stride` words lie
// between neighbours; the second is only read when the code reaches into it.
uint8_t straddling_code(const uint32_t* first, int64_t stride, int offset, int bits) {
  uint64_t both = *first;
  if (offset + bits > 32) both |= static_cast<uint64_t>(first[stride]) << 32;
  return static_cast<uint8_t>((both >> offset) & mask(bits));
}

// The 32 codes of `bits` words that lie `stride` apart. With the bits a constant the compiler knows every shift.
template <int kBits>
void block_codes(const uint32_t* words, int64_t stride, uint8_t* codes) {
  for (int i = 0; i < 32; ++i)
    codes[i] = straddling_code(words + i * kBits / 32 * stride, stride, i * kBits % 32, kBits);
}

using BlockCodes = void (*)(const uint32_t*, int64_t, uint8_t*);
constexpr BlockCodes kBlockCodes[] = {nullptr,        block_codes<1>, block_codes<2>, block_codes<3>, block_codes<4>,
                                      block_codes<5>, block_codes<6>, block_codes<7>, block_codes<8>};

constexpr int64_t kTile = 64;  // outputs or inputs whose cache lines are in use together

}  // namespace

void stream_codes(const uint32_t* words, int64_t count, int bits, uint8_t* codes) {
  const BlockCodes block = kBlockCodes[bits];
  const int64_t whole = count / 32 * 32;
  for (int64_t i = 0; i < whole; i += 32) block(words + i / 32 * bits, 1, codes + i);
  for (int64_t i = whole; i < count; ++i) codes[i] = stream_code(words, i, bits);
}

uint8_t stream_code(const uint32_t* words, int64_t index, int bits) {
  const int64_t bit = index * bits;
  return straddling_code(words + bit / 32, 1, static_cast<int>(bit % 32), bits);
}

void decode_gptq_words(const uint32_t* words, int64_t out, int64_t in, int bits, int64_t begin, int64_t end,
                       uint8_t* codes) {
  const BlockCodes block = kBlockCodes[bits];
  for (int64_t tile = begin; tile < end; tile += kTile)
    for (int64_t i = 0; i < in; i += 32)
      for (int64_t o = tile; o < std::min(end, tile + kTile); ++o)
        block(words + i / 32 * bits * out + o, out, codes + o * in + i);
}

void decode_awq_words(const uint32_t* words, int64_t out, int64_t rows, int bits, int64_t begin, int64_t end,
                      uint8_t* codes) {
  const int64_t row_words = out * bits / 32;
  for (int64_t tile = 0; tile < rows; tile += kTile)
    for (int64_t o = begin; o < end; ++o) {
      const int64_t stored = o / 8 * 8 + kAwqSlot[o % 8];
      for (int64_t row = tile; row < std::min(rows, tile + kTile); ++row)
        codes[o * rows + row] = stream_code(words + row * row_words, stored, bits);
    }
}

void decode_row_words(const uint32_t* words, int64_t out, int64_t rows, int bits, uint8_t* codes) {
  const int64_t row_words = out * bits / 32;
  for (int64_t o = 0; o < out; ++o)
    for (int64_t row = 0; row < rows; ++row) codes[o * rows + row] = stream_code(words + row * row_words, o, bits);
}

}  // namespace arkit::sdk
