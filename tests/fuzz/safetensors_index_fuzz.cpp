// Bytes as model.safetensors.index.json. No accepted file name may leave the folder.

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include <arkit/error.h>
#include <arkit/json.h>

#include "io/safetensors_index.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    for (const auto& file : arkit::io::parse_safetensors_index(arkit::json::parse(text, "'fuzz'"), "'fuzz'").files)
      if (file.find('/') != std::string::npos || file == "..") std::abort();
  } catch (const arkit::Error&) {  // refused: fine
  }
  return 0;
}
