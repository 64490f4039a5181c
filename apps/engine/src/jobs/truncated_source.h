#pragma once
// A model cut to its first N decoder blocks (--num_hidden_layers): for rehearsals and benchmarks. Everything else of
// the source shows through.

#include <cstdint>
#include <memory>
#include <string_view>

#include <arkit/model_source.h>

namespace arkit {

// Index of the decoder block a tensor belongs to, or -1: the first all-digit component after the name of a block list.
// Layers of a vision or audio tower belong to none.
[[nodiscard]] int64_t block_index(std::string_view name);

// Tensors named "<prefix>.<i>." with i >= num_blocks disappear, where <prefix> ends in "layers" or "h";
// num_hidden_layers (and layer_types) of the config, or of its text_config, are cut. Throws ErrorCode::usage when the
// model has fewer blocks.
[[nodiscard]] std::unique_ptr<ModelSource> truncate_blocks(std::unique_ptr<ModelSource> source, int64_t num_blocks);

}  // namespace arkit
