#include "serve/tool_calls.h"

#include <algorithm>

#include <arkit/error.h>
#include <arkit/json.h>

namespace arkit::serve {
namespace {

constexpr std::string_view kBegin = "<tool_call>", kEnd = "</tool_call>", kBlanks = " \t\r\n";

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(kBlanks);
  return begin == text.npos ? std::string_view() : text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

ToolCall read_call(std::string_view text) {
  const json::Value value = json::parse(text, "a tool call");
  const json::Object& call = json::as_object(value, "a tool call");
  const json::Value* arguments = json::find(call, "arguments");
  ToolCall made{.name = json::get_string(call, "name", "a tool call").value_or(""), .arguments = "{}"};
  if (made.name.empty()) throw_input("a tool call has no name");
  if (arguments != nullptr)
    made.arguments = arguments->is_string() ? std::string(arguments->get_string()) : json::dump(*arguments);
  return made;
}

}  // namespace

bool writes_calls(std::string_view chat_template) {
  return chat_template.find(kBegin) != chat_template.npos;
}

CalledText split_calls(std::string_view text) {
  CalledText made;
  std::string content;
  try {
    for (std::string_view rest = text; !rest.empty();) {
      const size_t begin = rest.find(kBegin);
      content += rest.substr(0, begin);
      if (begin == rest.npos) break;
      rest.remove_prefix(begin + kBegin.size());
      const size_t end = rest.find(kEnd);
      made.calls.push_back(read_call(trimmed(rest.substr(0, end))));
      rest.remove_prefix(end == rest.npos ? rest.size() : end + kEnd.size());
    }
  } catch (const Error&) {
    return {.content = std::string(text), .calls = {}};
  }
  made.content = made.calls.empty() ? std::string(text) : std::string(trimmed(content));
  return made;
}

size_t before_call(std::string_view text) {
  if (const size_t begin = text.find(kBegin); begin != text.npos) return begin;
  for (size_t held = std::min(kBegin.size() - 1, text.size()); held > 0; --held)
    if (text.ends_with(kBegin.substr(0, held))) return text.size() - held;
  return text.size();
}

}  // namespace arkit::serve
