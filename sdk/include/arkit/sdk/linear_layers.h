#pragma once
// The linear layers of a checkpoint, by the names, types and shapes of its tensors: what an export quantizes and what
// its configuration lists as left alone make up this set together.

#include <string>
#include <string_view>
#include <vector>

#include <arkit/descriptors.h>
#include <arkit/model_source.h>

namespace arkit {

// Is the module `name` (without ".weight") a table whose rows are looked up: embeddings of tokens, positions, types?
[[nodiscard]] bool is_lookup_table(std::string_view name);

// Is this the weight of a linear layer kept in real numbers: "*.weight", two dimensions, a floating-point type of at
// least 16 bits, no table?
[[nodiscard]] bool is_plain_linear(const TensorInfo& tensor);

// Names, without ".weight", of the linear layers that `weights` keeps in real numbers, in the order of the files:
// blocks, heads, routers, projectors, other towers, blocks for multi-token prediction. Of an export they are, beside
// ModelSource::packed(), all there are.
[[nodiscard]] std::vector<std::string> plain_linears(const WeightSource& weights);

// Those that `plan` does not know: nothing quantizes them, and a loader told to quantize every linear layer must be
// told to leave them alone.
[[nodiscard]] std::vector<std::string> unplanned_linears(const QuantPlan& plan, const WeightSource& weights);

}  // namespace arkit
