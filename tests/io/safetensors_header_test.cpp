#include "io/safetensors_header.h"

#include <string>

#include <gtest/gtest.h>

#include "io_testing.h"

namespace arkit {
namespace {

using testing::little_endian;
using testing::safetensors_bytes;

std::vector<io::SafetensorsEntry> parse(const std::string& bytes) {
  return io::parse_safetensors_header(std::as_bytes(std::span(bytes)), "'f'");
}

// A header with tensor 'a' and the given fields over `data_bytes` of data.
std::string one(const std::string& fields, size_t data_bytes) {
  return safetensors_bytes("{\"a\":{" + fields + "}}", std::string(data_bytes, '\0'));
}

TEST(SafetensorsHeader, GivesTensorsByOffset) {
  const auto entries = parse(safetensors_bytes(
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2,3],"data_offsets":[4,28]},)"
      R"("a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]},"e":{"dtype":"U8","shape":[0,7],"data_offsets":[28,28]},)"
      R"("s":{"dtype":"I64","shape":[],"data_offsets":[28,36]}}   )",
      std::string(36, '\0')));
  ASSERT_EQ(entries.size(), 4u);
  EXPECT_EQ(entries[0].name, "a");
  EXPECT_EQ(entries[0].dtype, at::kBFloat16);
  EXPECT_EQ(entries[1].name, "b");
  EXPECT_EQ(entries[1].shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(entries[1].end - entries[1].begin, 24);
  EXPECT_EQ(entries[2].name, "e");
  EXPECT_EQ(entries[3].shape.size(), 0u);
  EXPECT_EQ(entries[0].begin % 2, entries[1].begin % 2);
}

TEST(SafetensorsHeader, RefusesLyingLengths) {
  EXPECT_ERROR(parse(""), "input", "too few");
  EXPECT_ERROR(parse("1234567"), "input", "too few");
  EXPECT_ERROR(parse(little_endian(0)), "input", "not a JSON object");
  EXPECT_ERROR(parse(little_endian(10) + "{}"), "input", "header length 10");
  EXPECT_ERROR(parse(little_endian(~0ULL) + "{}"), "input", "header length 18446744073709551615");
  EXPECT_ERROR(parse(little_endian(100'000'001) + std::string(100, ' ')), "input", "header length 100000001");
}

TEST(SafetensorsHeader, RefusesBrokenJson) {
  EXPECT_ERROR(parse(safetensors_bytes("[]")), "input", "not a JSON object");
  EXPECT_ERROR(parse(safetensors_bytes("{\"a\":")), "input", "not valid JSON");
  EXPECT_ERROR(parse(safetensors_bytes("{} {}")), "input", "not valid JSON");
  EXPECT_ERROR(parse(safetensors_bytes("{\"\xff\xfe\":1}")), "input", "not valid JSON");
  EXPECT_ERROR(parse(safetensors_bytes("{\"__metadata__\":{\"format\":1}}")), "input", "must map strings to strings");
  EXPECT_ERROR(parse(safetensors_bytes("{\"__metadata__\":{},\"__metadata__\":{}}")), "input", "appears twice");
  std::string deep = "{\"a\":";
  deep.append(100, '[').append(100, ']') += "}";
  EXPECT_ERROR(parse(safetensors_bytes(deep)), "input", "not valid JSON");
}

TEST(SafetensorsHeader, RefusesDuplicateNames) {
  const std::string tensor = R"("a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]})";
  EXPECT_ERROR(parse(safetensors_bytes("{" + tensor + "," + tensor + "}", "0123")), "input", "'a' appears twice");
}

TEST(SafetensorsHeader, RefusesBadEntries) {
  EXPECT_ERROR(parse(safetensors_bytes("{\"a\":3}")), "input", "expected an object");
  EXPECT_ERROR(parse(one(R"("shape":[1],"data_offsets":[0,1])", 1)), "unsupported", "dtype ''");
  EXPECT_ERROR(parse(one(R"("dtype":"F4","shape":[2],"data_offsets":[0,1])", 1)), "unsupported", "dtype 'F4'");
  EXPECT_ERROR(parse(one(R"("dtype":"U8","data_offsets":[0,1])", 1)), "input", "'shape'");
  EXPECT_ERROR(parse(one(R"("dtype":"U8","shape":[-1],"data_offsets":[0,1])", 1)), "input", "'shape' holds -1");
  EXPECT_ERROR(parse(one(R"("dtype":"U8","shape":[1.0],"data_offsets":[0,1])", 1)), "input", "'shape' holds 1.0");
  EXPECT_ERROR(parse(one(R"("dtype":"U8","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,1])", 1)), "input", "at most 8");
  EXPECT_ERROR(parse(one(R"("dtype":"U8","shape":[1],"data_offsets":[0])", 1)), "input", "two offsets");
  EXPECT_ERROR(parse(one(R"("dtype":"U8","shape":[1],"data_offsets":[-1,0])", 1)), "input", "'data_offsets' holds -1");
  EXPECT_ERROR(parse(one(R"("dtype":"U8","shape":[1],"data_offsets":[1,0])", 1)), "input", "spans bytes 1 to 0");
  EXPECT_ERROR(parse(safetensors_bytes("{\"" + std::string(2000, 'x') + "\":{}}")), "input", "name of 2000 bytes");
}

TEST(SafetensorsHeader, TypesItDoesNotReadAreNoDamage) {
  for (const char* type : {"F4", "F6_E2M3", "F6_E3M2", "C64", "F128"})
    EXPECT_ERROR(parse(one(std::string(R"("dtype":")") + type + R"(","shape":[4],"data_offsets":[0,2])", 2)),
                 "unsupported", type);
  EXPECT_EQ(parse(one(R"("dtype":"F8_E8M0","shape":[2],"data_offsets":[0,2])", 2)).front().stored_type, "F8_E8M0");
  EXPECT_ERROR(parse(one(R"("dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,2])", 2)), "input",
               "2^63 - 1");
}

TEST(SafetensorsHeader, SaysThatAFileWasNotFetched) {
  EXPECT_ERROR(parse("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"), "input", "git lfs pull");
}

TEST(SafetensorsHeader, RefusesTensorsLargerThanTheFile) {
  EXPECT_ERROR(parse(one(R"("dtype":"F32","shape":[1000],"data_offsets":[0,4000])", 16)), "input", "copy it again");
  EXPECT_ERROR(parse(one(R"("dtype":"U8","shape":[9223372036854775807],"data_offsets":[0,9223372036854775807])", 16)),
               "input", "copy it again");
}

TEST(SafetensorsHeader, RefusesOverflowingShapes) {
  EXPECT_ERROR(parse(one(R"("dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0])", 0)), "input",
               "overflows");
  EXPECT_ERROR(parse(one(R"("dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0])", 0)), "input",
               "overflows");
  EXPECT_ERROR(parse(one(R"("dtype":"F32","shape":[0,4611686018427387904,4],"data_offsets":[0,0])", 0)), "input",
               "overflows");
  EXPECT_ERROR(parse(one(R"("dtype":"F32","shape":[3],"data_offsets":[0,8])", 8)), "input", "need 12");
}

TEST(SafetensorsHeader, RefusesOverlapsHolesAndRests) {
  const auto two = [](const char* a, const char* b, size_t data) {
    return safetensors_bytes(std::string(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)") + a +
                                 R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)" + b + "}}",
                             std::string(data, '\0'));
  };
  EXPECT_EQ(parse(two("[0,4]", "[4,8]", 8)).size(), 2u);
  EXPECT_ERROR(parse(two("[0,4]", "[2,6]", 6)), "input", "overlaps");
  EXPECT_ERROR(parse(two("[0,4]", "[0,4]", 4)), "input", "overlaps");
  EXPECT_ERROR(parse(two("[0,4]", "[5,9]", 9)), "input", "a hole");
  EXPECT_ERROR(parse(two("[1,5]", "[5,9]", 9)), "input", "a hole");
  EXPECT_ERROR(parse(two("[0,4]", "[4,8]", 9)), "input", "1 bytes after the last tensor");
}

TEST(SafetensorsHeader, EscapesHostileNames) {
  EXPECT_ERROR(parse(safetensors_bytes("{\"a\\u001b[31m\":3}")), "input", "'a\\x1b[31m'");
}

}  // namespace
}  // namespace arkit
