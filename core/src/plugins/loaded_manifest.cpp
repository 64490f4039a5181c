#include "plugins/loaded_manifest.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include <link.h>

#include <arkit/str.h>

#include "plugins/manifest.h"

namespace arkit::plugins {
namespace {

struct Range {
  uintptr_t begin = 0, end = 0;
  bool code = false;
};

// The segments of the shared object that holds `address`.
struct LoadedObject {
  uintptr_t address = 0;
  std::vector<Range> ranges;

  explicit LoadedObject(const void* inside) : address(reinterpret_cast<uintptr_t>(inside)) {
    ::dl_iterate_phdr(
        [](dl_phdr_info* info, size_t, void* self) {
          auto& object = *static_cast<LoadedObject*>(self);
          std::vector<Range> found;
          for (int i = 0; i < info->dlpi_phnum; ++i) {
            const auto& segment = info->dlpi_phdr[i];
            if (segment.p_type != PT_LOAD || (segment.p_flags & PF_R) == 0) continue;
            const uintptr_t begin = info->dlpi_addr + segment.p_vaddr;
            found.push_back({begin, begin + segment.p_memsz, (segment.p_flags & PF_X) != 0});
          }
          const bool here = std::any_of(found.begin(), found.end(), [&](const Range& range) {
            return object.address >= range.begin && object.address < range.end;
          });
          if (here) object.ranges = std::move(found);
          return here ? 1 : 0;
        },
        this);
  }

  // Bytes from `pointer` to the end of its segment; 0 = outside.
  [[nodiscard]] size_t room(const void* pointer, bool code = false) const {
    const auto at = reinterpret_cast<uintptr_t>(pointer);
    for (const Range& range : ranges)
      if (at >= range.begin && at < range.end && (!code || range.code)) return range.end - at;
    return 0;
  }

  // Null is for copy_manifest to name.
  [[nodiscard]] bool holds_text(const char* text) const {
    if (text == nullptr) return true;
    const size_t there = std::min(room(text), kMaxText + 1);
    return there > 0 && (there > kMaxText || std::memchr(text, 0, there) != nullptr);
  }
};

std::string outside(std::string_view field) {
  return str("manifest field ", field, " points outside the file; it is damaged: copy or build it again");
}

}  // namespace

std::string refuse_pointers(const ArkitBackendManifest& manifest) {
  const LoadedObject object(&manifest);
  if (object.room(&manifest) < sizeof(size_t)) return outside("arkit_backend_manifest");
  if (manifest.struct_size < ARKIT_BACKEND_MANIFEST_SIZE_1_0) return {};
  if (object.room(&manifest) < ARKIT_BACKEND_MANIFEST_SIZE_1_0) return outside("arkit_backend_manifest");
  if (manifest.magic != ARKIT_BACKEND_MAGIC || manifest.major != ARKIT_BACKEND_MAJOR) return {};
  const std::pair<const char*, std::string_view> texts[] = {
      {manifest.id, "id"},   {manifest.version, "version"}, {manifest.vendor, "vendor"},  {manifest.license, "license"},
      {manifest.url, "url"}, {manifest.name, "name"},       {manifest.summary, "summary"}};
  for (const auto& [text, field] : texts)
    if (!object.holds_text(text)) return outside(field);
  const void* open = reinterpret_cast<const void*>(manifest.open);
  return open == nullptr || object.room(open, /*code=*/true) > 0 ? std::string() : outside("open");
}

std::string refuse_pointers(const ArkitManifest& manifest) {
  const LoadedObject object(&manifest);
  if (object.room(&manifest) < sizeof(ArkitManifest)) return outside("arkit_manifest");
  if (manifest.magic != kManifestMagic || manifest.struct_size < sizeof(ArkitManifest)) return {};
  const std::pair<const char*, std::string_view> texts[] = {{manifest.abi_tag, "abi_tag"}, {manifest.id, "id"},
                                                            {manifest.version, "version"}, {manifest.vendor, "vendor"},
                                                            {manifest.license, "license"}, {manifest.url, "url"}};
  for (const auto& [text, field] : texts)
    if (!object.holds_text(text)) return outside(field);
  const uint32_t count = manifest.component_count;
  if (manifest.plugin_api != ARKIT_PLUGIN_API || count > kMaxComponents || manifest.components == nullptr) return {};
  if (object.room(manifest.components) < count * sizeof(ArkitComponent)) return outside("components");
  for (uint32_t i = 0; i < count; ++i) {
    const ArkitComponent& component = manifest.components[i];
    if (!object.holds_text(component.name)) return outside("component name");
    if (!object.holds_text(component.summary)) return outside("component summary");
    for (const void* function :
         {reinterpret_cast<const void*>(component.create), reinterpret_cast<const void*>(component.destroy)})
      if (function != nullptr && object.room(function, /*code=*/true) == 0) return outside("component functions");
  }
  return {};
}

}  // namespace arkit::plugins
