#pragma once
// What an opened model says of itself and arkit does not compute.

#include <string>

#include <arkit/log.h>
#include <arkit/model_source.h>

namespace arkit {

// Weights of full size whose configuration asks for quantized activations (`fake` exports): a warning that these stay
// in full.
void warn_about_source(const ModelSource& source, Reporter& reporter);

// A backend multiplies packed layers: a warning where the model has none.
void warn_about_backend(const std::string& backend, const ModelSource& source, Reporter& reporter);

}  // namespace arkit
