#include "gguf_file.h"

#include <string>

#include <gtest/gtest.h>

#include "gguf_testing.h"
#include "utf8.h"

namespace arkit {
namespace {

using testing::gguf_string;
using testing::gguf_u32;
using testing::GgufBuilder;
using testing::little_endian;

gguf::File parse(const std::string& bytes) {
  return gguf::parse_gguf(std::as_bytes(std::span(bytes)), "'f'");
}

// A file with one key of raw value bytes.
std::string with_value(const std::string& value) {
  GgufBuilder file;
  file.pairs = {{"k", value}};
  return file.bytes();
}

// A file with one tensor over 64 bytes of data.
std::string with_tensor(const testing::GgufTensor& tensor, size_t data_bytes = 64) {
  GgufBuilder file;
  file.tensors = {tensor};
  file.data_bytes = data_bytes;
  return file.bytes();
}

TEST(GgufFile, ReadsMetadataAndTensors) {
  GgufBuilder file;
  file.pairs = {{"a", gguf_u32(7)},
                {"b", testing::gguf_f32(1e-6F)},
                {"c", testing::gguf_bool(true)},
                {"d", testing::gguf_text("x")},
                {"e", testing::gguf_texts({"p", "", "q"})},
                {"f", testing::gguf_i32s({-1, 2})}};
  file.tensors = {{"t", {2, 3}, 0, 0}, {"u", {32, 2}, 2, 32}};
  file.data_bytes = 32 + 36;
  const std::string bytes = file.bytes();
  const gguf::File parsed = parse(bytes);
  EXPECT_EQ(parsed.metadata.integer("a"), 7);
  EXPECT_EQ(parsed.metadata.number("b"), 1e-6);  // not 9.99999997e-07
  EXPECT_EQ(parsed.metadata.boolean("c"), true);
  EXPECT_EQ(parsed.metadata.text("d"), "x");
  EXPECT_EQ(parsed.metadata.texts("e"), (std::vector<std::string_view>{"p", "", "q"}));
  EXPECT_EQ(parsed.metadata.integers("f", 2), (std::vector<int64_t>{-1, 2}));
  EXPECT_EQ(parsed.metadata.integer("absent"), std::nullopt);
  EXPECT_ERROR(parsed.metadata.integer("d"), "input", "'d' is not an integer");
  EXPECT_ERROR(parsed.metadata.texts("f"), "input", "'f' is not an array of strings");
  ASSERT_EQ(parsed.tensors.size(), 2u);
  EXPECT_EQ(parsed.tensors[0].shape, (std::vector<int64_t>{3, 2}));
  EXPECT_EQ(parsed.tensors[1].bytes, 36);
  EXPECT_EQ(parsed.tensors[1].offset - parsed.tensors[0].offset, 32);
}

TEST(GgufFile, RefusesOtherFilesAndVersions) {
  EXPECT_ERROR(parse(""), "input", "cut short");
  EXPECT_ERROR(parse("PK\3\4 something else entirely"), "input", "is no GGUF file");
  GgufBuilder file;
  for (const uint32_t version : {0u, 1u, 4u, 0x03000000u}) {
    file.version = version;
    EXPECT_ERROR(parse(file.bytes()), "unsupported",
                 version == 0x03000000u || version == 0 ? "big-endian" : "GGUF version");
  }
  file.version = 2;
  EXPECT_TRUE(parse(file.bytes()).tensors.empty());
}

TEST(GgufFile, RefusesEveryTruncation) {
  GgufBuilder file = testing::tiny_gguf();
  file.pairs.emplace_back("tokens", testing::gguf_texts({"a", "b"}));
  const std::string whole = file.bytes();
  ASSERT_EQ(parse(whole).tensors.size(), 2u);
  for (size_t size = 0; size < whole.size(); ++size) {
    const std::string message = testing::error_of([&] { (void)parse(whole.substr(0, size)); });
    ASSERT_TRUE(message.starts_with("input: ")) << size << ": " << message;
  }
}

TEST(GgufFile, RefusesLyingCounts) {
  const auto header = [](uint64_t tensors, uint64_t pairs) {
    return "GGUF" + little_endian(3, 4) + little_endian(tensors) + little_endian(pairs) + std::string(64, '\0');
  };
  EXPECT_ERROR(parse(header(~0ULL, 0)), "input", "tensors and 0 keys");
  EXPECT_ERROR(parse(header(0, ~0ULL)), "input", "at most");
  EXPECT_ERROR(parse(header(0, 1 << 20)), "input", "at most");
  EXPECT_ERROR(parse(header((1 << 16) + 1, 0)), "input", "at most 65536");
  EXPECT_ERROR(parse(header(1 << 16, 0)), "input", "tensor name");
}

TEST(GgufFile, RefusesLyingStringsAndArrays) {
  EXPECT_ERROR(parse(with_value(little_endian(8, 4) + little_endian(~0ULL))), "input",
               "a string of 18446744073709551615");
  EXPECT_ERROR(parse(with_value(little_endian(8, 4) + little_endian(1ULL << 40))), "input", "cut short");
  // The 43-byte file that hung gguf-py: an array of 2^63 elements.
  for (const uint64_t count : {1ULL << 63, ~0ULL, 1ULL << 62, 1ULL << 31})
    for (const uint32_t element : {0u, 4u, 8u, 10u})
      EXPECT_ERROR(parse(with_value(little_endian(9, 4) + little_endian(element, 4) + little_endian(count))), "input",
                   "announces");
  EXPECT_ERROR(parse(with_value(little_endian(9, 4) + little_endian(10, 4) + little_endian(8) + std::string(16, '\0'))),
               "input", "an array of 64 bytes");
  EXPECT_ERROR(parse(with_value(little_endian(9, 4) + little_endian(9, 4) + little_endian(1))), "unsupported",
               "array of arrays");
  EXPECT_ERROR(parse(with_value(little_endian(13, 4))), "input", "value type 13");
  EXPECT_ERROR(parse(with_value(little_endian(9, 4) + little_endian(77, 4) + little_endian(0))), "input",
               "value type 77");
}

TEST(GgufFile, RefusesBadKeys) {
  GgufBuilder file;
  file.pairs = {{"k", gguf_u32(1)}, {"k", gguf_u32(2)}};
  EXPECT_ERROR(parse(file.bytes()), "input", "'k' appears twice");
  file.pairs = {{"", gguf_u32(1)}};
  EXPECT_ERROR(parse(file.bytes()), "input", "is empty");
  file.pairs = {{"\xff", gguf_u32(1)}};
  EXPECT_ERROR(parse(file.bytes()), "input", "no UTF-8");
  file.pairs = {{"k", testing::gguf_texts({"\xc0\x80"})}};
  const std::string bytes = file.bytes();
  EXPECT_ERROR(parse(bytes).metadata.texts("k"), "input", "not valid UTF-8");
}

TEST(GgufFile, RefusesBadAlignment) {
  for (const uint32_t alignment : {0u, 3u, 48u, 1u << 31}) {
    GgufBuilder file;
    file.pairs = {{"general.alignment", gguf_u32(alignment)}};
    EXPECT_ERROR(parse(file.bytes()), "input", "power of two");
  }
  GgufBuilder file;
  file.pairs = {{"general.alignment", gguf_u32(128)}};
  file.alignment = 128;
  file.tensors = {{"t", {4}, 0, 0}, {"u", {4}, 0, 128}};
  file.data_bytes = 144;
  EXPECT_EQ(parse(file.bytes()).tensors[1].offset % 128, 0);
}

TEST(GgufFile, RefusesBadTensors) {
  EXPECT_EQ(parse(with_tensor({"t", {16}, 0, 0})).tensors.size(), 1u);
  EXPECT_ERROR(parse(with_tensor({"", {16}, 0, 0})), "input", "is empty");
  EXPECT_ERROR(parse(with_tensor({std::string(64, 'x'), {16}, 0, 0})), "input", "longer than 63");
  EXPECT_ERROR(parse(with_tensor({"t", {1, 1, 1, 1, 16}, 0, 0})), "input", "5 dimensions");
  EXPECT_ERROR(parse(with_tensor({"t", {0}, 0, 0})), "input", "a dimension of 0");
  EXPECT_ERROR(parse(with_tensor({"t", {~0ULL}, 0, 0})), "input", "a dimension of 18446744073709551615");
  EXPECT_ERROR(parse(with_tensor({"t", {1ULL << 62, 4}, 0, 0})), "input", "overflows");
  EXPECT_ERROR(parse(with_tensor({"t", {1ULL << 61}, 0, 0})), "input", "overflows");
  EXPECT_ERROR(parse(with_tensor({"t", {1ULL << 40}, 0, 0})), "input", "copy it again");
  EXPECT_ERROR(parse(with_tensor({"t", {17}, 0, 0})), "input", "ends at byte");
  EXPECT_ERROR(parse(with_tensor({"t", {16}, 0, 32})), "input", "a hole");
  EXPECT_ERROR(parse(with_tensor({"t", {16}, 0, ~0ULL})), "input", "has offset");
  EXPECT_ERROR(parse(with_tensor({"t", {33}, 2, 0})), "input", "needs a multiple of 32");
  EXPECT_ERROR(parse(with_tensor({"t", {32}, 4, 0})), "unsupported", "type id 4");
  EXPECT_ERROR(parse(with_tensor({"t", {32}, 0xFFFFFFFF, 0})), "unsupported", "type id 4294967295");
}

TEST(GgufFile, RefusesOverlappingAndRepeatedTensors) {
  GgufBuilder file;
  file.data_bytes = 128;
  file.tensors = {{"t", {16}, 0, 0}, {"u", {16}, 0, 32}};
  EXPECT_ERROR(parse(file.bytes()), "input", "overlaps");
  file.tensors[1].offset = 0;
  EXPECT_ERROR(parse(file.bytes()), "input", "overlaps");
  file.tensors = {{"t", {16}, 0, 0}, {"t", {16}, 0, 64}};
  EXPECT_ERROR(parse(file.bytes()), "input", "'t' appears twice");
}

TEST(GgufFile, KnowsUtf8) {
  for (const char* good : {"", "a", "\xc2\x80", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"})
    EXPECT_TRUE(gguf::is_utf8(good));
  for (const char* bad : {"\x80", "\xc0\x80", "\xc1\xbf", "\xc2", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf",
                          "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xe2\x82"})
    EXPECT_FALSE(gguf::is_utf8(bad));
}

}  // namespace
}  // namespace arkit
