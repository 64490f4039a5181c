#pragma once
// Transforms of whole checkpoints: which plugin an option means, and what they leave for run time.

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include <arkit/export.h>
#include <arkit/model_adapter.h>
#include <arkit/model_source.h>
#include <arkit/registry.h>
#include <arkit/transform.h>

namespace arkit {

// The source as the transform leaves it whose option `option` is and has the text `text`. Throws ErrorCode::unsupported
// when no plugin has it, and whatever the transform throws.
[[nodiscard]] TransformedCheckpoint transform_checkpoint(std::unique_ptr<ModelSource> source, std::string_view option,
                                                         const std::string& text, const Registry& registry);

// The source as an export saw it that says of itself what changes its inputs at run time; as it is for others.
[[nodiscard]] std::unique_ptr<ModelSource> transformed_as(std::unique_ptr<ModelSource> source, std::string_view option,
                                                          const std::string& text, const ModelSource& exported,
                                                          const Registry& registry);

// Throws ErrorCode::unsupported when the family's plugin left out the rotation of one of these loaded layers.
ARKIT_INTERNAL void check_applied(const ModelSource& source, std::span<Linear* const> layers);

}  // namespace arkit
