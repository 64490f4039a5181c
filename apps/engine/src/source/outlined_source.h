#pragma once
// A model whose weights are still on a hub: all that headers and texts say of it, and no values.

#include <memory>
#include <string>

#include <arkit/log.h>
#include <arkit/model_source.h>

#include "hub/model_outline.h"

namespace arkit {

// What opens under path() of the result: the model of a hub that `model` names, without its weights. Null for a path
// that exists and where hub::outline_model() has none. Throws as locate_model() does.
[[nodiscard]] std::unique_ptr<hub::ModelOutline> outline_of(const std::string& model, Reporter& reporter);

// `source` was opened from an outline: it is the same, but asked for values it throws hub::WeightsAbsent.
[[nodiscard]] std::unique_ptr<ModelSource> without_values(std::unique_ptr<ModelSource> source);

}  // namespace arkit
