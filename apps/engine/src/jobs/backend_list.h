#pragma once
// `arkit list backends`: what is here, what each backend runs, and which names of other programs lead to it.

#include <arkit/json.h>
#include <arkit/registry.h>

#include "inference/backend_catalogue.h"

namespace arkit {

// A row a backend: those of plugins first, then those that arkit knows of and has no plugin for.
[[nodiscard]] json::Array list_backends(const Registry& registry,
                                        const std::vector<KnownBackend>& known = known_backends());

}  // namespace arkit
