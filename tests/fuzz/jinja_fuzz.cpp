// Bytes as a chat template: parsed and rendered over a short conversation, within its budget.

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include <arkit/error.h>
#include <arkit/json.h>

#include "text/chat_template.h"
#include "text/unicode.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace arkit;
  static const json::Object context{
      {"messages",
       json::Array{json::Object{{"role", "system"}, {"content", "Be brief"}},
                   json::Object{{"role", "user"}, {"content", "h\u00e9llo <b>\n\n1.5"}},
                   json::Object{{"role", "assistant"}, {"content", nullptr}, {"n", json::Array{1, 2.5, true}}}}},
      {"bos_token", "<s>"},
      {"tools", nullptr},
      {"add_generation_prompt", true}};
  try {
    const std::string text =
        text::ChatTemplate(std::string_view(reinterpret_cast<const char*>(data), size)).render(context);
    if (text::valid_utf8_prefix(text) != text.size()) std::abort();
  } catch (const Error&) {  // refused: fine
  }
  return 0;
}
