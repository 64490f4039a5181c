#pragma once
// A plugin's manifest as a bounded copy, whichever way it was read (from the loaded library or from the file alone),
// and the one function that decides whether this arkit accepts it.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/backend_c.h>
#include <arkit/plugin.h>
#include <arkit/registry.h>

namespace arkit::plugins {

inline constexpr size_t kMaxText = 256;         // bytes of any manifest string
inline constexpr uint32_t kMaxComponents = 64;  // of one plugin

struct ComponentView {
  uint32_t kind = 0;
  std::string name, summary;
  bool has_functions = false;  // create and destroy are set
};

struct ManifestView {
  bool backend = false;  // of a backend behind the door made of C, which is its only component
  uint64_t struct_size = 0;
  uint32_t magic = 0, plugin_api = 0, component_count = 0;
  uint32_t door_major = 0, door_minor = 0;  // of backends, which have no ABI tag
  std::string abi_tag, id, version, vendor, license, url;
  std::vector<ComponentView> components;  // empty when component_count is out of range
  std::string unreadable;                 // the first field that is null or longer than kMaxText; empty = all fine
};

// Copies what the version fields allow to be read: nothing after them for a foreign magic or a too small struct.
[[nodiscard]] ManifestView copy_manifest(const ArkitManifest& manifest);
[[nodiscard]] ManifestView copy_manifest(const ArkitBackendManifest& manifest);

// Why this arkit refuses the manifest, in the order magic, struct_size, plugin_api, abi_tag or door; empty = same C++,
// same MAJOR of the door. Several lines mean "built for / this arkit / what to do".
[[nodiscard]] std::string refuse_versions(const ManifestView& manifest);

// The same for what the manifest says: component count, strings, names, kinds.
[[nodiscard]] std::string refuse_contents(const ManifestView& manifest);

// Fills the descriptive fields of `entry`, control characters escaped.
void describe(const ManifestView& manifest, PluginEntry& entry);

}  // namespace arkit::plugins
