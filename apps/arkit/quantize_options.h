#pragma once
// The options of a quantization, as several commands take them.

#include <arkit/engine/jobs.h>
#include <arkit/json.h>
#include <arkit/registry.h>

#include "arguments.h"

namespace arkit::cli {

[[nodiscard]] QuantizeOptions quantize_options(const Arguments& arguments);

// Throws ErrorCode::unsupported for the reference's GGUF formats and types, unless a plugin writes them.
void refuse_gguf(const QuantizeOptions& options, const Registry& registry);

// Without --format, options.formats are default_formats; after quantize_options.
void settle_formats(QuantizeOptions& options, const Arguments& arguments, const Registry& registry);

// Those of `arkit autoscheme`: nothing is tuned there, and the plain names of samples mean scoring.
[[nodiscard]] QuantizeOptions autoscheme_options(const Arguments& arguments);
// As resolved_options(), without what only tuning has.
[[nodiscard]] json::Object resolved_autoscheme(const QuantizeOptions& options, const Registry& registry);

}  // namespace arkit::cli
