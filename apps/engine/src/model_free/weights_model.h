#pragma once
// A model of which only the weights are known: blocks and linear layers by tensor names, no forward pass. What needs
// none (rounding, packing, verifying) works for architectures that no plugin knows.

#include <memory>

#include <arkit/model_adapter.h>
#include <arkit/model_source.h>

namespace arkit::model_free {

// What can be guessed of `source`, as open_checkpoint shows it: layers, their blocks and lists, the head. A block is what is
// rounded at a time: one layer, or those that are fused, in the order of the files. Throws ErrorCode::input when no
// tensor looks like a layer of a decoder block.
[[nodiscard]] ModelLayout layout_of(const ModelSource& source);

// The model of that layout. `source` outlives it. Forward functions throw ErrorCode::unsupported.
[[nodiscard]] std::unique_ptr<Model> open_weights(const ModelSource& source, at::ScalarType dtype);

}  // namespace arkit::model_free
