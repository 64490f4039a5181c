#include <cstring>

#include <gtest/gtest.h>

#include <arkit/error.h>
#include <arkit/json.h>
#include <arkit/sdk/safetensors_layout.h>

namespace arkit::sdk {
namespace {

TEST(SafetensorsLayout, OrdersByDtypeRankThenName) {
  const FileLayout layout = layout_file({{"b", at::ScalarType::Half, {2, 3}},
                                         {"c", at::ScalarType::Int, {4}},
                                         {"a", at::ScalarType::Half, {1}},
                                         {"z", at::ScalarType::Long, {2}},
                                         {"y", at::ScalarType::BFloat16, {8}}});
  std::string order;
  for (const FileTensor& tensor : layout.tensors) order += tensor.name;
  EXPECT_EQ(order, "zcyab");
  EXPECT_EQ(layout.header.size() % 8, 0U);
  EXPECT_EQ(layout.tensors.front().offset, static_cast<int64_t>(layout.header.size()));
  EXPECT_EQ(layout.total_bytes, static_cast<int64_t>(layout.header.size()) + 16 + 16 + 16 + 2 + 12);
}

TEST(SafetensorsLayout, HeaderIsWhatTheReferenceWrites) {
  const FileLayout layout = layout_file({{"q\"x", at::ScalarType::Int, {2, 3}}});
  uint64_t length = 0;
  std::memcpy(&length, layout.header.data(), 8);
  EXPECT_EQ(length + 8, layout.header.size());
  const std::string expected =
      R"({"__metadata__":{"format":"pt"},"q\"x":{"dtype":"I32","shape":[2,3],"data_offsets":[0,24]}})";
  EXPECT_EQ(layout.header.substr(8, expected.size()), expected);
  EXPECT_EQ(layout.header.find_first_not_of(' ', 8 + expected.size()), std::string::npos);
}

TEST(SafetensorsLayout, RefusesSizesThatOverflow) {
  EXPECT_THROW((void)tensor_bytes({int64_t{1} << 40, int64_t{1} << 40}, at::ScalarType::Int, "w"), Error);
  EXPECT_THROW((void)safetensors_dtype(at::ScalarType::ComplexFloat), Error);
}

}  // namespace
}  // namespace arkit::sdk
