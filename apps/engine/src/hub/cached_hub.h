#pragma once
// What the local Hugging Face cache holds, without any network: data sets that `hf download` or the datasets library
// have put there. Read only.

#include <memory>

#include <arkit/export.h>

#include "hub/hub.h"

namespace arkit::hub {

[[nodiscard]] ARKIT_EXPORT std::unique_ptr<Hub> open_cached_hub();

}  // namespace arkit::hub
