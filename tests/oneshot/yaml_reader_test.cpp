#include "util/yaml_reader.h"

#include <gtest/gtest.h>

#include <string>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::oneshot {
namespace {

std::string refusal(const std::string& text) {
  try {
    (void)parse_yaml(text, "recipe");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::input);
    return error.what();
  }
  ADD_FAILURE() << "nothing was refused: " << text;
  return {};
}

std::string compact(const std::string& text) {
  return json::dump(parse_yaml(text, "recipe"));
}

TEST(YamlReader, ScalarsAreWhatYaml11Says) {
  EXPECT_EQ(compact("[1, -2, 1.5, 1e-3, true, No, ~, null, '1', \"yes\", a b, .5]"),
            R"([1, -2, 1.5, 0.001, true, false, null, null, "1", "yes", "a b", 0.5])");
  EXPECT_EQ(compact("[.inf, .nan, inf, nan, 0x10, 1_000, +3, -]"),
            R"([".inf", ".nan", "inf", "nan", "0x10", "1_000", 3, "-"])");
}

TEST(YamlReader, CollectionsNest) {
  EXPECT_EQ(compact("a:\n  b: [x, {c: d}]\n  e:\n  - f\n  - g: 1\n"),
            R"({"a": {"b": ["x", {"c": "d"}], "e": ["f", {"g": 1}]}})");
}

TEST(YamlReader, PythonTagsAroundOneNameAreTheName) {
  EXPECT_EQ(compact("strategy: !!python/object/apply:compressed_tensors.QuantizationStrategy [tensor]\n"),
            R"({"strategy": "tensor"})");
  EXPECT_EQ(compact("strategy: !!python/object/apply:compressed_tensors.QuantizationStrategy\n- tensor\n"),
            R"({"strategy": "tensor"})");
  EXPECT_NE(refusal("a: !!python/object/apply:os.system [ls, -l]\n").find("one name"), std::string::npos);
  EXPECT_NE(refusal("a: !!python/name:os.system x\n").find("python/name"), std::string::npos);
  EXPECT_NE(refusal("!thing {a: b}\n").find("tag"), std::string::npos);
}

TEST(YamlReader, AliasesAreCopiesWithinBounds) {
  EXPECT_EQ(compact("a: &x [1, 2]\nb: *x\n"), R"({"a": [1, 2], "b": [1, 2]})");
  EXPECT_NE(refusal("a: &x [*x]\n").find("contains it"), std::string::npos);
  EXPECT_NE(refusal("a: *missing\n").find("line 1"), std::string::npos);
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 12; ++i) {
    bomb += str("a", i, ": &a", i, " [");
    for (int k = 0; k < 10; ++k) bomb += str(k > 0 ? ", *a" : "*a", i - 1);
    bomb += "]\n";
  }
  EXPECT_NE(refusal(bomb).find("expands"), std::string::npos);
}

TEST(YamlReader, DepthAndSizeAreBounded) {
  EXPECT_NE(refusal(std::string(100, '[') + std::string(100, ']')).find("deeper"), std::string::npos);
  EXPECT_NE(refusal(std::string(300000, '#')).find("KiB"), std::string::npos);
}

TEST(YamlReader, RefusesWhatIsNoPlainDocument) {
  EXPECT_NE(refusal("").find("empty"), std::string::npos);
  EXPECT_NE(refusal("a: 1\n---\nb: 2\n").find("several"), std::string::npos);
  EXPECT_NE(refusal("a: 1\na: 2\n").find("twice"), std::string::npos);
  EXPECT_NE(refusal("a: &x {b: 1}\nc:\n  <<: *x\n").find("merge"), std::string::npos);
  EXPECT_NE(refusal("a:\n  - b\n c: d\n").find("line"), std::string::npos);
  EXPECT_NE(refusal("a: \xff\n").find("UTF-8"), std::string::npos);
  EXPECT_NE(refusal(std::string("a: \0b", 5)).find("UTF-8"), std::string::npos);
  EXPECT_NE(refusal("[a]: b\n").find("key"), std::string::npos);
}

}  // namespace
}  // namespace arkit::oneshot
