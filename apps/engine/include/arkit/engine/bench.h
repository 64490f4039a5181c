#pragma once
// How fast this machine is, and how much of that a backend and a model make use of.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <arkit/engine/option_table.h>
#include <arkit/export.h>
#include <arkit/json.h>
#include <arkit/log.h>
#include <arkit/registry.h>

namespace arkit {

struct BenchOptions {
  std::string model;              // empty = no rows of a model
  std::string backend, device;    // as of GenerateOptions
  std::vector<std::string> only;  // "kernels", "load", "prefill", "decode", "batch"; empty = all
  int64_t threads = 0;            // 0 = with one, and then with all
  double seconds = 1.0;           // that a row is measured at least
  int64_t prompt_tokens = 1024;   // of prefill; cut to the model's positions
  int64_t new_tokens = 128;       // of decode and of each text of batch
  std::string dtype = "auto";
  std::filesystem::path svg;  // the rows of the model over their roofline; empty = none
};

template <>
ARKIT_EXPORT std::span<const OptionOf<BenchOptions>> option_table();

// "machine": what was measured of it, by number of threads; "rows": of each what, value, unit, and as far as there is
// one its limit on this machine ("roofline") and the share of it. Throws ErrorCode::usage for an impossible request,
// ErrorCode::unsupported for a backend that has no such kernels.
[[nodiscard]] ARKIT_EXPORT json::Object bench(const BenchOptions& options, const Registry& registry,
                                              Reporter& reporter);

}  // namespace arkit
