#pragma once
// The options of a quantization, as several commands take them.

#include <arkit/jobs.h>

#include "arguments.h"

namespace arkit::cli {

[[nodiscard]] QuantizeOptions quantize_options(const Arguments& arguments);

}  // namespace arkit::cli
