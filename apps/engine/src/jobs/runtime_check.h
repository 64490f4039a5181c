#pragma once

#include <string>
#include <vector>

#include <arkit/descriptors.h>
#include <arkit/log.h>

#include "jobs/export_set.h"

namespace arkit {

// With `wanted` (--runtime) everything that engine would refuse throws ErrorCode::unsupported before the run starts.
// Without it a format that none of the known engines loads is worth a warning, and so are 8-bit asymmetric weights.
void check_runtimes(const std::string& wanted, const QuantPlan& plan, const std::vector<FormatChoice>& formats,
                    Reporter& reporter);

}  // namespace arkit
