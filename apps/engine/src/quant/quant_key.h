#pragma once
// How layers are quantized, as part of the key of what is kept on disk: everything that a result may depend on.

#include <arkit/descriptors.h>
#include <arkit/export.h>
#include <arkit/json.h>

namespace arkit {

[[nodiscard]] ARKIT_INTERNAL json::Array quant_key(const TensorQuant& quant);
[[nodiscard]] ARKIT_INTERNAL json::Array quant_key(const LayerQuant& quant);

}  // namespace arkit
