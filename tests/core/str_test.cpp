#include <arkit/str.h>

#include <gtest/gtest.h>

namespace arkit {
namespace {

const std::vector<std::string> kNames{"auto_gptq", "auto_awq", "auto_round", "fake"};

TEST(Str, NearestFindsSlipsAndNothingElse) {
  EXPECT_EQ(nearest("auto_gqtq", kNames), "auto_gptq");
  EXPECT_EQ(nearest("AUTO_ROUN", kNames), "auto_round");
  EXPECT_EQ(nearest("fak", kNames), "fake");
  EXPECT_EQ(nearest("afke", kNames), "fake");  // two neighbours swapped are one slip
  EXPECT_EQ(nearest("onnx", kNames), "");
}

TEST(Str, UnknownNameAsksAndHints) {
  EXPECT_EQ(unknown_name("format", "auto_gqtq", kNames, "'arkit list formats' shows all"),
            "unknown format 'auto_gqtq'; did you mean 'auto_gptq'? ('arkit list formats' shows all)");
  EXPECT_EQ(unknown_name("format", "onnx", kNames, ""), "unknown format 'onnx'");
}

TEST(Str, PrintableDefusesControlCharacters) {
  EXPECT_EQ(printable("a\x1b[2Jb\n"), "a\\x1b[2Jb\\x0a");
  EXPECT_EQ(printable(std::string(300, 'x'), 10), "xxxxxxxxxx...");
}

TEST(Str, SplitKeepsEmptyParts) {
  EXPECT_EQ(split("a,,b", ','), (std::vector<std::string>{"a", "", "b"}));
  EXPECT_TRUE(split("", ',').empty());
}

}  // namespace
}  // namespace arkit
