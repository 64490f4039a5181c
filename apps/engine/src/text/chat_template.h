#pragma once
// Chat templates: the Jinja subset of docs/spec/chat-templates.md 2. A template is parsed once; rendering is bounded in
// steps, recursion and output.

#include <memory>
#include <string>
#include <string_view>

#include <arkit/export.h>
#include <arkit/json.h>

namespace arkit::text {

class ARKIT_EXPORT ChatTemplate {
 public:
  // Throws ErrorCode::unsupported naming the construct for syntax outside the subset.
  explicit ChatTemplate(std::string_view source);
  ChatTemplate(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  // Renders with the members of `context` as variables. Throws ErrorCode::input when the template raises an exception
  // or fails, and ErrorCode::unsupported for a filter, test, method or function that does not exist here.
  [[nodiscard]] std::string render(const json::Object& context) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace arkit::text
