#pragma once
// What the local cache holds, without any network.

#include <memory>

#include <arkit/export.h>
#include <arkit/log.h>

#include "hub/hub.h"

namespace arkit::hub {

// open_hub() of the usual service as the environment says, but offline.
[[nodiscard]] ARKIT_EXPORT std::unique_ptr<Hub> open_cached_hub(Reporter& reporter);

}  // namespace arkit::hub
