#pragma once
// What an opened model says of itself and arkit does not compute.

#include <arkit/log.h>
#include <arkit/model_source.h>

namespace arkit {

// Weights of full size whose configuration asks for quantized activations (`fake` exports): a warning that these stay
// in full.
void warn_about_source(const ModelSource& source, Reporter& reporter);

}  // namespace arkit
