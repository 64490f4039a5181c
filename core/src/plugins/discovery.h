#pragma once
// From places to loaded plugins: look at each file, try what is new in a child process, load what survived.

#include <vector>

#include <arkit/registry.h>

#include "plugins/host.h"

namespace arkit::plugins {

// In the order they win, refused ones included. Throws ErrorCode::plugin when one the user named is refused.
[[nodiscard]] std::vector<LoadedPlugin> look_for(const PluginSearch& search);

}  // namespace arkit::plugins
