#include "text/chat_template.h"

#include <arkit/error.h>
#include <arkit/str.h>

#include "text/jinja/interpreter.h"
#include "text/jinja/parser.h"

namespace arkit::text {
namespace {

constexpr size_t kMaxTemplateBytes = size_t{1} << 19;

}  // namespace

struct ChatTemplate::Impl {
  jinja::Body body;
};

ChatTemplate::ChatTemplate(std::string_view source) : impl_(std::make_unique<Impl>()) {
  if (source.size() > kMaxTemplateBytes)
    throw_input(str("chat template: has ", source.size(), " bytes; at most ", kMaxTemplateBytes, " are accepted"));
  impl_->body = jinja::parse(source);
}
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

std::string ChatTemplate::render(const json::Object& context) const {
  return jinja::render(impl_->body, context);
}

}  // namespace arkit::text
