#include "serve/tool_calls.h"

#include <gtest/gtest.h>

namespace arkit::serve {
namespace {

TEST(ToolCalls, AreFoundBesideWhatIsSaid) {
  const CalledText both = split_calls(
      "Let me look.\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Rome\"}}\n</tool_call>\n"
      "<tool_call>{\"name\": \"time\"}</tool_call>");
  EXPECT_EQ(both.content, "Let me look.");
  ASSERT_EQ(both.calls.size(), 2U);
  EXPECT_EQ(both.calls[0].name, "weather");
  EXPECT_EQ(both.calls[0].arguments, "{\"city\": \"Rome\"}");
  EXPECT_EQ(both.calls[1].arguments, "{}");
  const CalledText cut = split_calls("<tool_call>{\"name\": \"f\", \"arguments\": \"{}\"}");
  EXPECT_EQ(cut.content, "");
  EXPECT_EQ(cut.calls.at(0).arguments, "{}");
}

TEST(ToolCalls, WhatIsNoneStaysText) {
  for (const char* text :
       {"plain <b>text</b>", "<tool_call>no JSON</tool_call>", "<tool_call>{\"arguments\": {}}</tool_call>",
        "<tool_call>[1]</tool_call>", "<tool_call>", ""}) {
    EXPECT_EQ(split_calls(text).content, text);
    EXPECT_TRUE(split_calls(text).calls.empty()) << text;
  }
}

TEST(ToolCalls, AreHeldBackWhileTextIsShown) {
  EXPECT_EQ(before_call("some text"), 9U);
  EXPECT_EQ(before_call("text <tool"), 5U);
  EXPECT_EQ(before_call("text <tool_call>{\"na"), 5U);
  EXPECT_EQ(before_call("a < b"), 5U);
  EXPECT_TRUE(writes_calls("{{ '<tool_call>' }}"));
  EXPECT_FALSE(writes_calls("{{ tools }}"));
}

}  // namespace
}  // namespace arkit::serve
