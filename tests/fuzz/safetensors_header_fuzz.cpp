// Bytes as a safetensors file. Whatever the parser accepts must lie inside the file.

#include <cstdint>
#include <cstdlib>
#include <span>

#include <arkit/error.h>

#include "io/safetensors_header.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto bytes = std::as_bytes(std::span(data, size));
    for (const auto& entry : arkit::io::parse_safetensors_header(bytes, "'fuzz'"))
      if (entry.begin < 8 || entry.end < entry.begin || entry.end > static_cast<int64_t>(size)) std::abort();
  } catch (const arkit::Error&) {  // refused: fine
  }
  return 0;
}
