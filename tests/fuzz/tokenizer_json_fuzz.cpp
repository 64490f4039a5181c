// tokenizer.json as bytes: whatever loads must encode and decode without harm, and decode(encode(x)) must not throw
// anything but Error.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <arkit/engine/tokenizer.h>
#include <arkit/error.h>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::string text =
      "Hello  world!\n\n it's 1234 <s><|im_start|>\u00e9\u0301\u4e2d\u6587 \U0001F600\t\r\n x=\"ab\"; " +
      std::string(300, 'a');
  try {
    const arkit::Tokenizer tokenizer(std::string_view(reinterpret_cast<const char*>(data), size), {});
    const auto ids = tokenizer.encode(text);
    (void)tokenizer.decode(ids, true);
    (void)tokenizer.decode(ids, false);
    (void)tokenizer.encode("a\xff\xc3");
  } catch (const arkit::Error&) {  // refused, with a reason
  }
  return 0;
}
