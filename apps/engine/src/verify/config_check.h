#pragma once
// Does the export's config.json say what the source's says, and did the files beside the weights come along?

#include <arkit/model_source.h>

#include "verify/verify_report.h"

namespace arkit {

// Every member of the source's configuration is in the export's with the same value, numbers that are neither a 64-bit
// integer nor an exact double included. Left out is what says how weights are stored, and what check_tie looks at.
[[nodiscard]] CheckResult check_config(const ModelSource& exported, const ModelSource& source);

// What the configuration says about the head, read as the program it is for reads it, is what is stored.
[[nodiscard]] CheckResult check_tie(const ModelSource& exported);

// Files of the source that an export carries along are there and the same.
[[nodiscard]] CheckResult check_companions(const ModelSource& exported, const ModelSource& source);

}  // namespace arkit
