#pragma once
// The plugins of this build and the virtual device of tests/plugin_host beside them.

#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include <arkit/registry.h>

namespace arkit::tests {

inline std::filesystem::path device_file(const std::string& folder) {
  return std::filesystem::path(ARKIT_FIXTURES) / folder / "libarkit_backend_virtual_device.so";
}

inline const Registry& registry_with(const std::filesystem::path& backend) {
  static std::map<std::filesystem::path, std::unique_ptr<Registry>> registries;
  std::unique_ptr<Registry>& registry = registries[backend];
  if (!registry) registry = std::make_unique<Registry>(PluginSearch{{backend}, {ARKIT_PLUGIN_BUILD_DIR}});
  return *registry;
}

}  // namespace arkit::tests
