#pragma once
// What is written where a user names no format.

#include <string>
#include <vector>

#include <arkit/engine/jobs.h>
#include <arkit/export.h>
#include <arkit/registry.h>

namespace arkit {

// The format that the scheme of `options`, or one of AutoScheme's options, begins with ("gguf" of "GGUF:Q4_K"), else
// auto_round.
[[nodiscard]] ARKIT_EXPORT std::vector<std::string> default_formats(const QuantizeOptions& options,
                                                                    const Registry& registry);

}  // namespace arkit
