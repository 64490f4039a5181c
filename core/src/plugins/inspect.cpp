// Describes a plugin file: never runs its code, so that a refused or hostile file can be looked at.
#include <arkit/registry.h>

#include <arkit/error.h>
#include <arkit/str.h>

#include "plugins/elf_file.h"
#include "plugins/search_path.h"

namespace arkit {

PluginInspection inspect_plugin(const std::filesystem::path& file) {
  constexpr size_t kMaxSymbols = 10000;
  PluginInspection inspection;
  PluginEntry& entry = inspection.entry;
  entry.path = std::filesystem::absolute(file).lexically_normal();
  entry.named_by_user = true;
  std::error_code failed;
  if (!std::filesystem::is_regular_file(entry.path, failed))
    throw_input(str("'", printable(file.string(), 400), "' is not a file; give a plugin's .so file"));

  const plugins::MappedFile mapped(entry.path);
  const auto elf = plugins::ElfFile::parse(mapped.bytes());
  if (!elf) {
    entry.reason = "not a 64-bit little-endian shared object, or damaged; copy or build it again";
    return inspection;
  }
  inspection.symbols = elf->exported(kMaxSymbols);
  const auto manifest = elf->manifest();
  if (manifest) {
    plugins::describe(*manifest, entry);
    entry.reason = elf->refuse_layout();
    if (entry.reason.empty()) entry.reason = plugins::refuse_versions(*manifest);
    if (entry.reason.empty()) entry.reason = plugins::refuse_contents(*manifest);
  } else {
    entry.reason = elf->has_manifest() ? "its manifest cannot be read from the file"
                                       : "no `arkit_manifest` symbol; is it an arkit plugin? (ARKIT_PLUGIN is "
                                         "missing, or its symbol is hidden)";
  }
  // Last, so that a file that would be fine elsewhere still shows what it is.
  if (entry.reason.empty()) {
    const PluginSearch only{{entry.path}, {}};
    entry.reason = plugins::find_candidates(only).front().refused;
  }
  entry.state = entry.reason.empty() ? PluginState::loaded : PluginState::refused;
  return inspection;
}

}  // namespace arkit
