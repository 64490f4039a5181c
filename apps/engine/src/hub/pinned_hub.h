#pragma once
// A hub at the commits of an earlier run.

#include <map>
#include <memory>
#include <string>

#include <arkit/export.h>

#include "hub/hub.h"

namespace arkit::hub {

// `inner`, but data sets of `commits` (by id) whose revision is left open are looked at there.
[[nodiscard]] ARKIT_INTERNAL std::unique_ptr<Hub> pinned(std::unique_ptr<Hub> inner,
                                                         std::map<std::string, std::string> commits);

}  // namespace arkit::hub
