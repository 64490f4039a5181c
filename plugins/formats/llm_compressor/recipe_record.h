#pragma once
// What llm-compressor's own files say about an export: quantization_config in its words, and recipe.yaml.

#include <arkit/exporter.h>
#include <arkit/json.h>

namespace arkit::llm_compressor {

// The recipe that gives this plan: what a run without a recipe file records. Layers of one scheme are targeted by
// class, several by name.
[[nodiscard]] RecipeRecord recipe_of(const ExportRequest& request);

// quantization_config as llm-compressor writes it (docs/spec/format-compressed-tensors.md 5): every argument stated,
// groups in the order of their first layer, patterns of `ignore` written out, every linear layer of `weights` that
// stays as it is in it. Empty where nothing is quantized.
[[nodiscard]] json::Object recorded_config(const QuantPlan& plan, const RecipeRecord& record,
                                           const WeightSource& weights);

}  // namespace arkit::llm_compressor
