#pragma once
// A model of which only the weights are known: blocks and linear layers by tensor names, no forward pass. What needs
// none (rounding, packing, verifying) works for architectures that no plugin knows.

#include <memory>

#include <arkit/model_adapter.h>
#include <arkit/model_source.h>

namespace arkit::model_free {

// `source` as open_checkpoint shows it; outlives the model. A layer that must stay in 16 bits has its reason filled in
// linears(). Throws ErrorCode::input when no tensor looks like a layer of a decoder block. Forward functions throw
// ErrorCode::unsupported.
[[nodiscard]] std::unique_ptr<Model> open_weights(const ModelSource& source, at::ScalarType dtype);

}  // namespace arkit::model_free
