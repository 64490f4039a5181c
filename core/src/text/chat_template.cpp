#include "text/chat_template.h"

#include <arkit/error.h>

namespace arkit::text {

struct ChatTemplate::Impl {};

ChatTemplate::ChatTemplate(std::string_view) {
  throw_unsupported("chat templates cannot be rendered by this build");
}
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;
std::string ChatTemplate::render(const json::Object&) const {
  return {};
}

}  // namespace arkit::text
