#pragma once
// Rotary embeddings in the words of mlx-lm's classes: rope_theta, rope_scaling and partial_rotary_factor beside each
// other, where transformers 5 has one object rope_parameters and transformers 4 left out what it took for granted.

#include <arkit/descriptors.h>
#include <arkit/json.h>

namespace arkit::mlx {

// May mlx-lm compute the rotation that this config.json asks for?
[[nodiscard]] Verdict supports_rope(const json::Object& config);

// Rewrites config.json and the configurations of language models in it.
void write_rope(json::Object& config);

}  // namespace arkit::mlx
