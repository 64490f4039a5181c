#pragma once
// Loads one plugin file and checks that it may be used. Nothing is ever unloaded (docs/adr/0002-no-unloading.md).

#include <filesystem>
#include <string>

#include "plugins/manifest.h"

namespace arkit::plugins {

struct LoadedPlugin {
  PluginEntry entry;  // state is loaded or refused
  // One of them is set once the plugin is loaded and accepted; valid for the life of the process.
  const ArkitManifest* manifest = nullptr;
  const ArkitBackendManifest* backend = nullptr;
};

// What the file alone tells; none of its code runs. `path` is absolute and its permissions have been checked. Never
// throws for a bad plugin: it is refused. State loaded = it may be tried (probe.h) and loaded.
[[nodiscard]] LoadedPlugin look_at_plugin(const std::filesystem::path& path);

// Loads what look_at_plugin found nothing wrong with. Never throws for a bad plugin either.
void load_plugin(LoadedPlugin& plugin);

// The loader's message without boost's and errno's words, undefined symbols demangled.
[[nodiscard]] std::string explain_load_failure(std::string_view message, const std::filesystem::path& path);

}  // namespace arkit::plugins
