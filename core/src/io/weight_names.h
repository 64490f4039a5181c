#pragma once
// What weights are called, of this and of other formats.

#include <string_view>

#include <arkit/export.h>

namespace arkit::io {

// By its ending; lists of shards count.
[[nodiscard]] ARKIT_INTERNAL bool is_weight_name(std::string_view name);

// Of a file that is a model by itself, configuration and vocabulary included.
[[nodiscard]] ARKIT_INTERNAL bool is_whole_model_name(std::string_view name);

}  // namespace arkit::io
