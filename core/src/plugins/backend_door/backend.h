#pragma once
// A backend behind the door made of C as an InferenceBackend.

#include <memory>

#include <arkit/backend_c.h>
#include <arkit/inference_backend.h>

#include "plugins/guard.h"

namespace arkit::backend_door {

// Opens it; the manifest has been accepted (plugins/manifest.h). Every error names the plugin of `origin`.
[[nodiscard]] std::shared_ptr<InferenceBackend> open_backend(const ArkitBackendManifest& manifest,
                                                             plugins::OriginPtr origin);

}  // namespace arkit::backend_door
