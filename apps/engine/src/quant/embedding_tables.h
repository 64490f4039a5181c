#pragma once
// Tables of token embeddings, which no model lists among its linear layers.

#include <optional>
#include <vector>

#include <arkit/descriptors.h>
#include <arkit/export.h>
#include <arkit/model_layout.h>
#include <arkit/model_source.h>

namespace arkit {

// As layers of LayerKind::embedding in 16 bits, in the order of the checkpoint.
[[nodiscard]] std::vector<LayerPlan> embedding_tables(const WeightSource& weights);

// The one that the model's tokens are looked up in, in 16 bits; nothing where the layout does not name it.
[[nodiscard]] ARKIT_INTERNAL std::optional<LayerPlan> token_table(const ModelLayout& layout);

}  // namespace arkit
