#pragma once
// Tables of token embeddings, which no model lists among its linear layers.

#include <vector>

#include <arkit/descriptors.h>
#include <arkit/model_source.h>

namespace arkit {

// As layers of LayerKind::embedding in 16 bits, in the order of the checkpoint.
[[nodiscard]] std::vector<LayerPlan> embedding_tables(const WeightSource& weights);

}  // namespace arkit
