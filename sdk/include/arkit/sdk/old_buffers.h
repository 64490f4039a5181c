#pragma once
// What checkpoints of the days when masks and frequencies were stored carry along.

#include <arkit/model_source.h>

namespace arkit::sdk {

// A causal mask, its fill value, a table of a rotary embedding, position numbers: every loader computes them, none
// reads them. Told by name, masks also by shape or dtype, because they are called like a bias.
[[nodiscard]] bool is_old_buffer(const TensorInfo& tensor);

}  // namespace arkit::sdk
