#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include <arkit/sdk/bit_decode.h>
#include <arkit/sdk/bit_pack.h>

namespace arkit::sdk {
namespace {

std::vector<uint8_t> counting_codes(int bits) {
  std::vector<uint8_t> codes(32);
  for (size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<uint8_t>(i % (size_t{1} << bits));
  return codes;
}

std::vector<uint8_t> random_codes(size_t count, int bits) {
  std::mt19937 random(static_cast<unsigned>(bits) * 7919U + 1U);
  std::vector<uint8_t> codes(count);
  for (uint8_t& code : codes) code = static_cast<uint8_t>(random() & ((1U << bits) - 1U));
  return codes;
}

std::vector<uint32_t> words_of(const std::vector<uint8_t>& bytes) {
  std::vector<uint32_t> words(bytes.size() / 4);
  std::memcpy(words.data(), bytes.data(), bytes.size());
  return words;
}

// docs/spec/packing.md 7: the 32 codes i mod 2^b.
struct StreamVector {
  int bits;
  std::vector<uint32_t> words;
};
const std::vector<StreamVector> kStreams = {
    {2, {0xE4E4E4E4, 0xE4E4E4E4}},
    {3, {0x88FAC688, 0xC688FAC6, 0xFAC688FA}},
    {4, {0x76543210, 0xFEDCBA98, 0x76543210, 0xFEDCBA98}},
    {5, {0x8A418820, 0xC5A92839, 0xCA307B9A, 0x38BDAB49, 0xFFBBCDEB}},
    {6, {0x440C2040, 0xA2481C61, 0x3CE34C2C, 0x544D2450, 0xA6585D65, 0x7DE75C6D}},
    {7, {0x40608080, 0x880E1828, 0x68C16284, 0x88901E38, 0x58A94264, 0x668C982E, 0x3E78E9C3}},
    {8, {0x03020100, 0x07060504, 0x0B0A0908, 0x0F0E0D0C, 0x13121110, 0x17161514, 0x1B1A1918, 0x1F1E1D1C}},
};

TEST(BitPack, WritesTheWordsOfTheSpecification) {
  for (const StreamVector& stream : kStreams) {
    const std::vector<uint8_t> codes = counting_codes(stream.bits);
    std::vector<uint8_t> packed(static_cast<size_t>(stream.bits) * 4);
    pack_row(codes.data(), 32, stream.bits, packed.data());
    EXPECT_EQ(words_of(packed), stream.words) << stream.bits << " bits";
    pack_row_ref(codes.data(), 32, stream.bits, packed.data());
    EXPECT_EQ(words_of(packed), stream.words) << stream.bits << " bits, reference";
  }
}

TEST(BitPack, AwqInterleavesBeforePacking) {
  std::vector<uint8_t> packed(16);
  // One input, 32 outputs: the codes are one column.
  pack_awq_columns(counting_codes(4).data(), 32, 1, 4, 0, 1, packed.data());
  EXPECT_EQ(words_of(packed), (std::vector<uint32_t>{0x75316420, 0xFDB9ECA8, 0x75316420, 0xFDB9ECA8}));
  packed.resize(20);
  pack_awq_columns(counting_codes(5).data(), 32, 1, 5, 0, 1, packed.data());
  EXPECT_EQ(words_of(packed), (std::vector<uint32_t>{0x46131040, 0x97314839, 0x52507B56, 0x58BD671B, 0xFF779F73}));
}

TEST(BitPack, RowsComeBack) {
  for (int bits = 1; bits <= 8; ++bits) {
    const std::vector<uint8_t> codes = random_codes(8 * 37, bits);
    std::vector<uint8_t> packed(codes.size() * static_cast<size_t>(bits) / 8);
    std::vector<uint8_t> reference(packed.size());
    pack_row(codes.data(), 8 * 37, bits, packed.data());
    pack_row_ref(codes.data(), 8 * 37, bits, reference.data());
    EXPECT_EQ(packed, reference) << bits;
    std::vector<uint8_t> back(codes.size());
    unpack_row(packed.data(), 8 * 37, bits, back.data());
    EXPECT_EQ(back, codes) << bits;
    unpack_row_ref(packed.data(), 8 * 37, bits, back.data());
    EXPECT_EQ(back, codes) << bits;
  }
}

// Outputs that do not fill a tile, packed in two parts as two threads do it.
TEST(BitPack, GptqColumnsEqualTheReference) {
  const int64_t out = 72;
  const int64_t in = 160;
  for (int bits = 1; bits <= 8; ++bits) {
    const std::vector<uint8_t> codes = random_codes(static_cast<size_t>(out * in), bits);
    std::vector<uint32_t> words(static_cast<size_t>(in / 32 * bits * out));
    std::vector<uint32_t> reference(words.size());
    pack_columns(codes.data(), out, in, bits, 0, 41, words.data());
    pack_columns(codes.data(), out, in, bits, 41, out, words.data());
    pack_columns_ref(codes.data(), out, in, bits, 0, out, reference.data());
    EXPECT_EQ(words, reference) << bits;
    std::vector<uint8_t> back(codes.size());
    unpack_columns(words.data(), out, in, bits, 0, out, back.data());
    EXPECT_EQ(back, codes) << bits;
    std::fill(back.begin(), back.end(), uint8_t{0});
    decode_gptq_words(words.data(), out, in, bits, 0, out, back.data());
    EXPECT_EQ(back, codes) << bits << ", the independent decoder";
  }
}

// Inputs that do not fill a block of eight, more outputs than a tile.
TEST(BitPack, AwqColumnsEqualTheReference) {
  const int64_t out = 160;
  const int64_t in = 75;
  for (int bits = 1; bits <= 8; ++bits) {
    const std::vector<uint8_t> codes = random_codes(static_cast<size_t>(out * in), bits);
    std::vector<uint8_t> packed(static_cast<size_t>(in * (out / 8) * bits));
    std::vector<uint8_t> reference(packed.size());
    pack_awq_columns(codes.data(), out, in, bits, 0, 24, packed.data());
    pack_awq_columns(codes.data(), out, in, bits, 24, in, packed.data());
    pack_awq_columns_ref(codes.data(), out, in, bits, 0, in, reference.data());
    EXPECT_EQ(packed, reference) << bits;
    std::vector<uint8_t> back(codes.size());
    unpack_awq_columns(packed.data(), out, in, bits, 0, in, back.data());
    EXPECT_EQ(back, codes) << bits;
    std::fill(back.begin(), back.end(), uint8_t{0});
    decode_awq_words(words_of(packed).data(), out, in, bits, 0, out, back.data());
    EXPECT_EQ(back, codes) << bits << ", the independent decoder";
  }
}

// A code that is too large must not spill into its neighbours.
TEST(BitPack, IgnoresBitsAboveTheCode) {
  std::vector<uint8_t> codes(32, 0xFF);
  std::vector<uint8_t> packed(12);
  codes[5] = 0xF8;  // the low three bits are 0
  pack_row(codes.data(), 32, 3, packed.data());
  std::vector<uint8_t> back(32);
  unpack_row(packed.data(), 32, 3, back.data());
  EXPECT_EQ(back[4], 7);
  EXPECT_EQ(back[5], 0);
  EXPECT_EQ(back[6], 7);
}

}  // namespace
}  // namespace arkit::sdk
