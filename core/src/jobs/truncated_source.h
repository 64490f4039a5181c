#pragma once
// A model cut to its first N decoder blocks (--num_hidden_layers): for rehearsals and benchmarks. Everything else of
// the source shows through.

#include <memory>

#include <arkit/model_source.h>

namespace arkit {

// Tensors named "<prefix>.<i>." with i >= num_blocks disappear, where <prefix> ends in "layers" or "h"; config
// num_hidden_layers (and layer_types) are cut. Throws ErrorCode::usage when the model has fewer blocks.
[[nodiscard]] std::unique_ptr<ModelSource> truncate_blocks(std::unique_ptr<ModelSource> source, int64_t num_blocks);

}  // namespace arkit
