#pragma once
// Loads one plugin file and checks that it may be used. Nothing is ever unloaded (docs/adr/0002-no-unloading.md).

#include <filesystem>
#include <string>

#include "plugins/manifest.h"

namespace arkit::plugins {

struct LoadedPlugin {
  PluginEntry entry;                        // state is loaded or refused
  const ArkitManifest* manifest = nullptr;  // valid for the life of the process; null unless loaded and accepted
};

// `path` is absolute and its permissions have been checked. Never throws for a bad plugin: it is refused.
[[nodiscard]] LoadedPlugin load_plugin(const std::filesystem::path& path);

// The loader's message without boost's and errno's words, undefined symbols demangled.
[[nodiscard]] std::string explain_load_failure(std::string_view message, const std::filesystem::path& path);

}  // namespace arkit::plugins
