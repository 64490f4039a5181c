// Bytes as the rules of a serving engine. What is accepted names formats and says something.

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include <arkit/error.h>

#include "quant/runtime_rules.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace arkit;
  try {
    const RuntimeRules rules = parse_runtime({reinterpret_cast<const char*>(data), size}, "'fuzz'");
    if (rules.name.empty()) std::abort();
    for (const auto& entry : rules.loads)
      if (entry.formats.empty() || entry.text.empty()) std::abort();
  } catch (const Error&) {  // refused: fine
  }
  return 0;
}
