#include <arkit/toml_depth.h>

#include <string>

#include <gtest/gtest.h>

namespace arkit::util {
namespace {

bool refused(const std::string& text) {
  try {
    refuse_deep_keys(text, "'x.toml'");
    return false;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::input);
    EXPECT_STREQ(error.what(), "'x.toml': a key has more than 64 parts with dots between them");
    return true;
  }
}

std::string dotted(const std::string& part, int times) {
  std::string key = part;
  for (int i = 1; i < times; ++i) key += "." + part;
  return key;
}

TEST(TomlDepth, CountsThePartsOfOneKey) {
  EXPECT_FALSE(refused(dotted("a", 65) + " = 1"));
  EXPECT_TRUE(refused(dotted("a", 66) + " = 1"));
  EXPECT_TRUE(refused("b = 1\n[[" + dotted("a-b_9 ", 66) + "]]"));
  EXPECT_TRUE(refused("x = {" + dotted("\"q = {\"", 66) + " = 1}"));
  EXPECT_TRUE(refused(dotted("'l'", 66)));
}

TEST(TomlDepth, DotsElsewhereAreNoKeys) {
  const std::string dots(100, '.');
  EXPECT_FALSE(refused("# " + dots + "\nx = 1"));
  EXPECT_FALSE(refused("x = \"" + dots + "\\\"" + dots + "\"\ny = '" + dots + "'"));
  EXPECT_FALSE(refused("x = \"\"\"\n" + dots + "\"" + dots + "\n\"\"\"\ny = '''" + dots + "\n'" + dots + "'''"));
  EXPECT_FALSE(refused("x = [" + dotted("1", 1) + dotted(".5, 1", 80) + "]"));
  std::string lines;
  for (int i = 0; i < 100; ++i) lines += "a.b" + std::to_string(i) + " = 1.5\n";
  EXPECT_FALSE(refused(lines));
  EXPECT_FALSE(refused("x = \"" + dots));  // not closed: the parser says so
}

}  // namespace
}  // namespace arkit::util
