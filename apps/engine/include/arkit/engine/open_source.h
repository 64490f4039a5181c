#pragma once
// From what a user names to a model that can be read, and to the plugin that knows its family.

#include <memory>
#include <string>

#include <arkit/export.h>
#include <arkit/registry.h>

namespace arkit {

class ModelAdapter;
struct ModelLayout;
class ModelSource;

// Opens whatever a user names as a model: a folder or file a reader recognises, a plain folder, or the id of a hub
// ("org/name", "org/name@revision", with "hf:" or "modelscope:" before it), which is downloaded into the hub's cache
// where it does not lie there (docs/HUB.md); reported_jobs.h has the form that says how far that is. A path that exists
// wins. Throws ErrorCode::input and ErrorCode::resource with one sentence for what a hub or the network does not give.
[[nodiscard]] ARKIT_EXPORT std::unique_ptr<ModelSource> open_source(const std::string& model, const Registry&);
// The adapter for source.config(); throws ErrorCode::unsupported naming the model_type and the nearest known one.
[[nodiscard]] ARKIT_EXPORT ModelAdapter& adapter_for(const ModelSource& source, const Registry&);
// What that adapter says the model is, held against the names and shapes of its tensors. Throws ErrorCode::input for a
// tensor that is missing or of a wrong shape, ErrorCode::unsupported for what the family does not have.
[[nodiscard]] ARKIT_EXPORT ModelLayout layout_of(const ModelSource& source, const Registry&);

}  // namespace arkit
