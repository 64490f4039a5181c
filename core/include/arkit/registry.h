#pragma once
// Finds plugin files, checks and loads them, and indexes what they offer. One Registry is owned by the running command
// and passed down; loaded plugins stay until the process ends (docs/adr/0002-no-unloading.md).

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/export.h>
#include <arkit/kind.h>

namespace arkit {

enum class PluginState { loaded, refused, shadowed };

struct ComponentEntry {
  Kind kind{};
  std::string name, summary;
  bool shadowed = false;  // an earlier plugin offers the same kind and name
};

struct PluginEntry {
  std::filesystem::path path;
  std::string id, version, vendor, license, url, abi_tag;  // empty when the file could not be read that far
  PluginState state = PluginState::refused;
  std::string reason;          // for refused and shadowed
  bool named_by_user = false;  // came from --plugin
  std::vector<ComponentEntry> components;
};

// Where to look, in order (docs/PLUGINS.md). Relative paths are made absolute; nothing is looked for in the working
// directory.
struct PluginSearch {
  std::vector<std::filesystem::path> named;     // --plugin: files or folders; a refusal there is an error
  std::vector<std::filesystem::path> folders;   // scanned for libarkit_*.so; refusals are listed, not fatal
  std::vector<std::filesystem::path> families;  // family files (docs/FAMILIES.md) and folders of them, earlier ones win
};

// --plugin values, ARKIT_PLUGIN_PATH (colon list; "disable" = no discovery), the user's data folder,
// arkit/plugins beside libarkit_core.so. Families: --family values, the families folders beside the last two.
[[nodiscard]] ARKIT_EXPORT PluginSearch default_search(std::span<const std::string> named,
                                                       std::span<const std::string> families = {});

class ARKIT_EXPORT Registry {
 public:
  // Loads everything `search` names. Throws ErrorCode::plugin when a plugin the user named is refused.
  explicit Registry(const PluginSearch& search);
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  [[nodiscard]] std::span<const PluginEntry> plugins() const noexcept;

  // Names of a kind's components, sorted.
  [[nodiscard]] std::vector<std::string> names(Kind kind) const;

  // The component, created on first use and shared afterwards. Throws ErrorCode::unsupported with the nearest name when
  // unknown, ErrorCode::plugin when its constructor throws.
  [[nodiscard]] Scheme& scheme(std::string_view name) const;
  [[nodiscard]] Exporter& exporter(std::string_view name) const;
  [[nodiscard]] InferenceBackend& backend(std::string_view name) const;
  [[nodiscard]] ModelAdapter& model(std::string_view name) const;
  [[nodiscard]] ModelReader& reader(std::string_view name) const;
  [[nodiscard]] Transform& transform(std::string_view name) const;

  // The scheme whose data_types contain `data_type`. Throws ErrorCode::unsupported.
  [[nodiscard]] Scheme& scheme_for(std::string_view data_type) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// What a user reads about a refused plugin: "plugin refused: <path>: <reason>", or one line a fact.
[[nodiscard]] ARKIT_EXPORT std::string refusal_message(const PluginEntry& entry);

// What can be said of a plugin file without running its code: manifest strings if readable, exported symbols, refusal
// reason.
struct PluginInspection {
  PluginEntry entry;
  std::vector<std::string> symbols;
};
[[nodiscard]] ARKIT_EXPORT PluginInspection inspect_plugin(const std::filesystem::path& file);

// "scheme", "exporter", "backend", "model", "reader", "transform".
[[nodiscard]] ARKIT_EXPORT std::string_view kind_name(Kind kind) noexcept;

}  // namespace arkit
