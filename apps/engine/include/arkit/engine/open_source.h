#pragma once
// From what a user names to a model that can be read, and to the plugin that knows its family.

#include <memory>
#include <string>

#include <arkit/export.h>
#include <arkit/registry.h>

namespace arkit {

class ModelAdapter;
class ModelSource;

// Opens whatever a user names as a model: a folder or file a reader recognises, a plain folder, or a hub id found in
// the local Hugging Face cache. Throws ErrorCode::input with the command that would download a missing hub id.
[[nodiscard]] ARKIT_EXPORT std::unique_ptr<ModelSource> open_source(const std::string& model, const Registry&);
// The adapter for source.config(); throws ErrorCode::unsupported naming the model_type and the nearest known one.
[[nodiscard]] ARKIT_EXPORT ModelAdapter& adapter_for(const ModelSource& source, const Registry&);

}  // namespace arkit
