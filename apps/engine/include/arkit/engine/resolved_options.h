#pragma once
// The options of a quantization as plain data, under the names users type: what arkit-run.json records and
// --save_config writes.

#include <string>
#include <string_view>

#include <arkit/engine/jobs.h>
#include <arkit/export.h>
#include <arkit/json.h>
#include <arkit/registry.h>

namespace arkit {

// Every option with the value a run would use, the scheme's and the recipe's where none was given. null: for the model
// or the recipe file to decide, different from layer to layer, or without meaning beside the others. Reading it back
// gives the same run. Throws ErrorCode::usage and ErrorCode::unsupported for values out of range, as quantize() does.
[[nodiscard]] ARKIT_EXPORT json::Object resolved_options(const QuantizeOptions& options, const Registry& registry);

// The format that stands for a scheme and is written where none is asked for: "gguf:q4_k_m" for "GGUF:Q4_K_M" in upper
// or lower case; empty = none does.
[[nodiscard]] ARKIT_EXPORT std::string usual_format(std::string_view scheme, const Registry& registry);

}  // namespace arkit
