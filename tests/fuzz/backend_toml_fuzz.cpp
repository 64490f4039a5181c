// Bytes as a file of share/backends. What is accepted has a name, and a step or a reason.

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include <arkit/error.h>

#include "inference/backend_catalogue.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace arkit;
  try {
    const KnownBackend backend = parse_backend({reinterpret_cast<const char*>(data), size}, "'fuzz'");
    if (backend.name.empty() || backend.get.empty() == backend.missing.empty()) std::abort();
    for (const auto& one : backend.stands_in)
      if (one.names.empty() || one.why.empty()) std::abort();
    if (would_score(backend, {}) < 0) std::abort();
  } catch (const Error&) {  // refused: fine
  }
  return 0;
}
