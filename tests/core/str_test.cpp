#include <arkit/str.h>

#include <arkit/escape.h>
#include <arkit/json.h>
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
  EXPECT_EQ(printable("\x7f\u009b31m \u202egnp.exe \u2066\u2028"), "\\x7f\\u009b31m \\u202egnp.exe \\u2066\\u2028");
  EXPECT_EQ(printable("\xf3\xa0\x81\x81"), "\\U000e0041");
  EXPECT_EQ(printable("Gr\u00fc\u00dfe, \u4f60\u597d \U0001F600"), "Gr\u00fc\u00dfe, \u4f60\u597d \U0001F600");
}

TEST(Str, PrintableIsValidUtf8WhereverItIsCut) {
  EXPECT_EQ(printable("a\xff\xc3(\xe2\x82"), "a\\xff\\xc3(\\xe2\\x82");
  EXPECT_EQ(printable("\xed\xa0\x80\xc0\x80"), "\\xed\\xa0\\x80\\xc0\\x80");  // a surrogate, an overlong zero
  EXPECT_EQ(printable("\u4f60\u597d\u4f60", 7), "\u4f60\u597d...");
  EXPECT_EQ(printable("\u4f60\u597d\u4f60", 9), "\u4f60\u597d\u4f60");
  EXPECT_EQ(printable("ab\x1b", 5), "ab...");
}

TEST(Escape, TerminalsGetLinesAndTabsButNoControls) {
  EXPECT_EQ(escape_terminal("a\tb\n\x1b[31m\r\u0085\xfe"), "a\tb\n\\x1b[31m\\x0d\\u0085\\xfe");
  const std::string once = escape_terminal("\x07\u202e\xff");
  EXPECT_EQ(escape_terminal(once), once);
}

TEST(Escape, JsonStaysJson) {
  json::Object object{{"a", std::string("\u009b\u202e\x7f\xff\x1b\U0001F600\xf3\xa0\x81\x81")}};
  const std::string text = escape_json(json::dump(object, 2));
  EXPECT_EQ(text, "{\n  \"a\": \"\\u009b\\u202e\\u007f\\\\xff\\u001b\U0001F600\\udb40\\udc41\"\n}");
  EXPECT_EQ(json::parse(text, "t").at("a").get_string(), "\u009b\u202e\x7f\\xff\x1b\U0001F600\xf3\xa0\x81\x81");
}

TEST(Escape, YamlScalarsAreTextAndOneLine) {
  for (const char* plain : {"Qwen/Qwen3-0.6B", "mit", "W4A16", "apache-2.0"}) EXPECT_EQ(yaml_scalar(plain), plain);
  EXPECT_EQ(yaml_scalar("x: y"), "\"x: y\"");
  EXPECT_EQ(yaml_scalar("a\ntags: [b]"), "\"a\\\\x0atags: [b]\"");
  EXPECT_EQ(yaml_scalar("say \"hi\" \\"), "\"say \\\"hi\\\" \\\\\"");
  for (const char* other : {"No", "null", "1.5", "2026-01-01", "-x", "", "#a", "[b]", "*c", "&d", "!e"})
    EXPECT_EQ(yaml_scalar(other), str('"', other, '"'));
}

TEST(Escape, MarkdownCannotBeLeft) {
  EXPECT_EQ(markdown_text("a_b-c.d/e"), "a_b-c.d/e");
  EXPECT_EQ(markdown_text("[x](http://y)<img src=z>\n# `w`|"), "\\[x\\](http://y)\\<img src=z\\>\\\\x0a\\# \\`w\\`\\|");
  EXPECT_EQ(markdown_code("model.layers.0"), "`model.layers.0`");
  EXPECT_EQ(markdown_code("a`b``c"), "``` a`b``c ```");
  EXPECT_EQ(markdown_block("x\n```\n\x1b"), "````\nx\n```\n\\x1b\n````\n");
}

TEST(Str, SplitKeepsEmptyParts) {
  EXPECT_EQ(split("a,,b", ','), (std::vector<std::string>{"a", "", "b"}));
  EXPECT_TRUE(split("", ',').empty());
}

}  // namespace
}  // namespace arkit
