#pragma once
// What can be said of options from their description alone.

#include <string>

#include <arkit/engine/option_table.h>
#include <arkit/export.h>

namespace arkit {

// Throws ErrorCode::usage for a number outside its option's range.
ARKIT_INTERNAL void check_ranges(const QuantizeOptions& options);

// The options that need `needs` and differ from what they are by themselves, as a user types them: "--lr, --momentum".
[[nodiscard]] ARKIT_INTERNAL std::string changed_options(const QuantizeOptions& options, OptionNeeds needs);

}  // namespace arkit
