#pragma once
// Which tensors mlx-lm's classes have a place for. One that has none stops the whole model from loading.

#include <arkit/descriptors.h>
#include <arkit/json.h>
#include <arkit/model_source.h>

namespace arkit::mlx {

// Of the dense families whose classes are known by heart: everything they do not name.
[[nodiscard]] bool has_no_place(const TensorInfo& tensor, const json::Object& config);

// Is there a class for this architecture, and does it compute what config.json says?
[[nodiscard]] Verdict supports_architecture(const ModelSource& source);

// Keys that mlx-lm's classes want to be told, or fill in otherwise than transformers.
void write_defaults(json::Object& config);

}  // namespace arkit::mlx
