#include "plugins/host.h"

#include <functional>
#include <mutex>
#include <vector>

#include <dlfcn.h>

#include <boost/core/demangle.hpp>
#include <boost/dll/shared_library.hpp>

#include <arkit/str.h>

#include "plugins/elf_file.h"
#include "plugins/loaded_manifest.h"

namespace arkit::plugins {
namespace {

namespace dll = boost::dll;

constexpr std::string_view kNoManifest =
    "no `arkit_manifest` symbol; is it an arkit plugin? (ARKIT_PLUGIN is missing, or its symbol is hidden)";

// Keeps every library open until the process ends, also those that were refused after loading: their static objects
// may already be referenced from elsewhere. Never destroyed.
void keep_forever(dll::shared_library&& library) {
  static std::mutex mutex;
  static auto* libraries = new std::vector<dll::shared_library>();
  const std::lock_guard lock(mutex);
  libraries->push_back(std::move(library));
}

// What the file alone tells: another ABI is refused before its code can run.
std::string refuse_file(const std::filesystem::path& path, PluginEntry& entry) {
  const MappedFile mapped(path);
  const std::optional<ElfFile> file = ElfFile::parse(mapped.bytes());
  // Not left to the loader: it maps a truncated file and dies of SIGBUS.
  if (!file) return "not a 64-bit little-endian shared object, or damaged; copy or build it again";
  if (!file->has_manifest()) return std::string(kNoManifest);
  if (std::string why = file->refuse_layout(); !why.empty()) return why;
  const std::optional<ManifestView> manifest = file->manifest();
  if (!manifest) return "its manifest lies outside the file; it is damaged: copy or build it again";
  describe(*manifest, entry);
  if (std::string why = refuse_versions(*manifest); !why.empty()) return why;
  return refuse_contents(*manifest);
}

// Accepts or refuses the manifest of a library that is loaded.
template <typename Manifest>
std::string check_loaded(const Manifest& manifest, PluginEntry& entry, const Manifest*& accepted) {
  if (std::string why = refuse_pointers(manifest); !why.empty()) return why;
  const ManifestView view = copy_manifest(manifest);
  describe(view, entry);
  if (std::string why = refuse_versions(view); !why.empty()) return why;
  if (std::string why = refuse_contents(view); !why.empty()) return why;
  accepted = &manifest;
  return {};
}

std::string load_and_check(const std::filesystem::path& path, LoadedPlugin& plugin) {
  boost::dll::fs::error_code failed;
  ::dlerror();
  dll::shared_library library(path, dll::load_mode::rtld_now | dll::load_mode::rtld_local, failed);
  if (failed) {
    const char* message = ::dlerror();
    return explain_load_failure(message == nullptr ? failed.message() : message, path);
  }
  const bool is_backend = library.has("arkit_backend_manifest");
  if (!is_backend && !library.has("arkit_manifest")) return std::string(kNoManifest);
  const auto* backend = is_backend ? &library.get<const ArkitBackendManifest>("arkit_backend_manifest") : nullptr;
  const auto* manifest = is_backend ? nullptr : &library.get<const ArkitManifest>("arkit_manifest");
  keep_forever(std::move(library));
  return is_backend ? check_loaded(*backend, plugin.entry, plugin.backend)
                    : check_loaded(*manifest, plugin.entry, plugin.manifest);
}

}  // namespace

std::string explain_load_failure(std::string_view message, const std::filesystem::path& path) {
  if (const std::string prefix = path.string() + ": "; message.starts_with(prefix))
    message.remove_prefix(prefix.size());
  constexpr std::string_view kUndefined = "undefined symbol: ";
  const size_t at = message.find(kUndefined);
  if (at == std::string_view::npos) return str("cannot be loaded: ", printable(message, 500));
  const std::string_view rest = message.substr(at + kUndefined.size());
  const std::string symbol(rest.substr(0, rest.find_first_of(", \t")));
  return str(
      "undefined symbol `", printable(boost::core::demangle(symbol.c_str()), 500),
      "`; it was built against another arkit or LibTorch, or lacks a library: rebuild it against this arkit's SDK "
      "(find_package(arkit " ARKIT_VERSION "))");
}

namespace {

void judge(LoadedPlugin& plugin, const std::function<std::string()>& refuse) {
  std::string why;
  try {
    why = refuse();
  } catch (const std::exception& error) {
    why = str("loading it failed: ", printable(error.what(), 500));
  }
  plugin.entry.state = why.empty() ? PluginState::loaded : PluginState::refused;
  plugin.entry.reason = std::move(why);
}

}  // namespace

LoadedPlugin look_at_plugin(const std::filesystem::path& path) {
  LoadedPlugin plugin;
  plugin.entry.path = path;
  judge(plugin, [&] { return refuse_file(path, plugin.entry); });
  return plugin;
}

void load_plugin(LoadedPlugin& plugin) {
  judge(plugin, [&] { return load_and_check(plugin.entry.path, plugin); });
}

}  // namespace arkit::plugins
