#pragma once
// What an opened model says of itself and arkit does not compute.

#include <arkit/json.h>
#include <arkit/log.h>
#include <arkit/model_source.h>

#include "inference/engine.h"

namespace arkit {

// Weights of full size whose configuration asks for quantized activations (`fake` exports): a warning that these stay
// in full.
void warn_about_source(const ModelSource& source, Reporter& reporter);

// What the options of a command that computes say of backends.
template <typename Options>
[[nodiscard]] BackendWish backend_wish(const Options& options) {
  BackendWish wish{options.backend, options.device, options.prepared_cache};
  wish.compute = options.compute;
  return wish;
}

// The same of one that measures.
template <typename Options>
[[nodiscard]] BackendWish exact_wish(const Options& options) {
  BackendWish wish = backend_wish(options);
  wish.exact = true;
  return wish;
}

// Backends multiply packed layers: a warning where the model has none and something is wished of them.
void warn_about_backend(const BackendWish& wish, const ModelSource& source, Reporter& reporter);

// "backends": layers by backend; "prepared_cache": what came out of it and what is new in it.
void describe_backends(const Engine& engine, json::Object& result);

}  // namespace arkit
