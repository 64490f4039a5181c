#pragma once
// What mlx-lm reads in config.json's "quantization" (docs/spec/format-mlx.md 2).

#include <string>

#include <arkit/descriptors.h>
#include <arkit/exporter.h>
#include <arkit/json.h>

#include "mlx_experts.h"

namespace arkit::mlx {

// {"group_size", "bits", "<packed layer>": {...}, "<other linear or embedding>": false}, by the names of mlx-lm's
// modules.
[[nodiscard]] json::Object quantization_of(const ExportRequest& request, const ExpertStacks& stacks);

// The reading side: "quantization", or null when the folder is not mlx's.
[[nodiscard]] const json::Object* find_quantization(const json::Object* config);
// The scheme of a layer. Throws ErrorCode::input for values out of range, or when the config says it is not packed.
[[nodiscard]] TensorQuant scheme_of(const json::Object& quantization, const std::string& layer);

}  // namespace arkit::mlx
