#pragma once
// Calls of tools in what a model writes, in the form that most templates teach: <tool_call>{"name": ..., "arguments":
// {...}}</tool_call>.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/export.h>

namespace arkit::serve {

struct ToolCall {
  std::string name;
  std::string arguments;  // JSON
};

struct CalledText {
  std::string content;  // what is said beside the calls
  std::vector<ToolCall> calls;
};

// Whether a chat template teaches this form.
[[nodiscard]] ARKIT_EXPORT bool writes_calls(std::string_view chat_template);
// A text that has something else between the marks is all content: nobody could answer it.
[[nodiscard]] ARKIT_EXPORT CalledText split_calls(std::string_view text);
// How much of a text that goes on is certainly content: nothing that a call begins with is.
[[nodiscard]] ARKIT_EXPORT size_t before_call(std::string_view text);

}  // namespace arkit::serve
