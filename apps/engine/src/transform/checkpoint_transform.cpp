#include "transform/checkpoint_transform.h"

#include <utility>

#include <arkit/engine/open_source.h>
#include <arkit/error.h>
#include <arkit/model_adapter.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/str.h>

#include "transform/model_roles.h"

namespace arkit {
namespace {

const Transform& transform_of(std::string_view option, const Registry& registry) {
  for (const std::string& name : registry.names(Kind::transform)) {
    const Transform& transform = registry.transform(name);
    if (transform.info().option == option) return transform;
  }
  throw_unsupported(str("no plugin offers the transform of --", option,
                        " ('arkit list plugins' shows what was found and refused); leave it out"));
}

TransformedCheckpoint around(const Transform& transform, std::unique_ptr<ModelSource> source, const std::string& text,
                             const Registry& registry) {
  const std::string what = str("transform '", transform.info().name, "' of the whole model");
  return transform.around(std::move(source), text, [&](const ModelSource& original) {
    return read_roles(original, adapter_for(original, registry).layout(original), what);
  });
}

}  // namespace

TransformedCheckpoint transform_checkpoint(std::unique_ptr<ModelSource> source, std::string_view option,
                                           const std::string& text, const Registry& registry) {
  return around(transform_of(option, registry), std::move(source), text, registry);
}

std::unique_ptr<ModelSource> transformed_as(std::unique_ptr<ModelSource> source, std::string_view option,
                                            const std::string& text, const ModelSource& exported,
                                            const Registry& registry) {
  const auto as_exported = [&](const Transform& transform, const std::string& known) {
    TransformedCheckpoint transformed = around(transform, std::move(source), known, registry);
    transformed.run_time->apply_as(exported);
    return std::move(transformed.source);
  };
  if (!text.empty()) return as_exported(transform_of(option, registry), text);
  for (const std::string& name : registry.names(Kind::transform)) {
    const Transform& transform = registry.transform(name);
    if (const std::string recorded = transform.recorded(exported); !recorded.empty())
      return as_exported(transform, recorded);
  }
  return source;
}

void check_applied(const ModelSource& source, std::span<Linear* const> layers) {
  for (const Linear* layer : layers)
    if (layer->rotation == nullptr && sdk::input_rotation(source, layer->name) != nullptr)
      throw_unsupported(str("layer '", layer->name,
                            "' needs its input rotated, which the plugin of its model family does not do; use a "
                            "rotation that is fused into the weights (docs/ROTATIONS.md)"));
}

}  // namespace arkit
