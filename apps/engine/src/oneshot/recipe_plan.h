#pragma once
// A recipe meets a model: the plan of every layer, and what exports record of the recipe.

#include <memory>
#include <string>

#include <arkit/descriptors.h>
#include <arkit/export.h>
#include <arkit/exporter.h>
#include <arkit/log.h>
#include <arkit/model_layout.h>
#include <arkit/model_source.h>
#include <arkit/registry.h>

#include "oneshot/modifier.h"

namespace arkit::oneshot {

struct RecipePlan {
  QuantPlan plan;
  std::shared_ptr<const RecipeRecord> record;
};

// Throws ErrorCode::unsupported for a layer that cannot be quantized as the recipe says, ErrorCode::input for a recipe
// that quantizes nothing of this model.
[[nodiscard]] ARKIT_INTERNAL RecipePlan plan_recipe(const Recipe& recipe, const ModelLayout& layout,
                                                    const ModelSource& source, const Registry& registry,
                                                    Reporter& reporter);

// The floating point type a model's weights are stored in, which llm-compressor keeps and computes in.
[[nodiscard]] at::ScalarType stored_dtype(const ModelSource& source);

}  // namespace arkit::oneshot
