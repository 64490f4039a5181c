#pragma once
// The manifest of a library that is loaded: a damaged file may have made its pointers point anywhere.

#include <string>

#include <arkit/backend_c.h>
#include <arkit/plugin.h>

namespace arkit::plugins {

// Why the manifest must not be read: a pointer of it leads out of the shared object it lies in, or a function of it is
// no code. Empty = copy_manifest and create() may follow its pointers. What the version fields do not allow to be read
// is not looked at.
[[nodiscard]] std::string refuse_pointers(const ArkitManifest& manifest);
[[nodiscard]] std::string refuse_pointers(const ArkitBackendManifest& manifest);

}  // namespace arkit::plugins
