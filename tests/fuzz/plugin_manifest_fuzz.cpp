// Bytes as a plugin's shared object, read as `arkit plugin inspect` does: symbols, manifest, verdict. No text may be
// longer than the reader promises, and a manifest with a field that cannot be read is never accepted.

#include <cstdint>
#include <cstdlib>
#include <span>

#include "plugins/elf_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace arkit::plugins;
  const auto file = ElfFile::parse(std::span(data, size));
  if (!file) return 0;
  for (const std::string& symbol : file->exported(1000))
    if (symbol.empty() || symbol.size() > 512) std::abort();
  const auto manifest = file->manifest();
  if (!manifest) return 0;
  for (const std::string* text :
       {&manifest->abi_tag, &manifest->id, &manifest->version, &manifest->vendor, &manifest->license, &manifest->url})
    if (text->size() > kMaxText) std::abort();
  if (manifest->components.size() > kMaxComponents) std::abort();
  const std::string refused = refuse_versions(*manifest) + refuse_contents(*manifest);
  if (refused.empty() && (!manifest->unreadable.empty() || manifest->components.empty())) std::abort();
  arkit::PluginEntry entry;
  describe(*manifest, entry);
  return 0;
}
