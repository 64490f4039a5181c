#pragma once
// How a weight file of a hub begins, without its data.

#include <cstdint>
#include <functional>
#include <string>

#include "hub/hub.h"

namespace arkit::hub {

// The bytes of a safetensors file up to its first tensor, read by ranges; of any other file a few that say so. At first
// `first` bytes are asked for, 8 or more: few where no data may come along, many to spare a request. `before_reading` is
// told how many come after the length, and may throw.
[[nodiscard]] std::string weight_header(RandomAccess& file, int64_t first,
                                        const std::function<void(int64_t)>& before_reading = {});

}  // namespace arkit::hub
