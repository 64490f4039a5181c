#include "plugins/manifest.h"

#include <algorithm>
#include <cstring>

#include <arkit/str.h>

namespace arkit::plugins {
namespace {

constexpr std::string_view kRebuild =
    "rebuild it against this arkit's SDK (find_package(arkit " ARKIT_VERSION ")) or ask its vendor for that build";

// A C string of the plugin, at most kMaxText bytes of it are looked at.
std::string copy_text(const char* text, std::string_view field, ManifestView& view) {
  const size_t length = text == nullptr ? kMaxText + 1 : strnlen(text, kMaxText + 1);
  if (length <= kMaxText) return {text, length};
  if (view.unreadable.empty()) view.unreadable = field;
  return {};
}

bool is_word(std::string_view text, std::string_view punctuation) {
  return !text.empty() && text.size() <= 128 && std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           punctuation.find(c) != std::string_view::npos;
  });
}

std::string refuse_component(const ComponentView& component, bool is_backend) {
  if ((component.kind == static_cast<uint32_t>(Kind::backend)) != is_backend)
    return str("component '", printable(component.name, 64),
               "' is a backend; backends come through <arkit/backend_c.h>: declare it with ARKIT_BACKEND "
               "(<arkit/sdk/backend.h>) in a library of its own");
  if (component.kind < static_cast<uint32_t>(Kind::scheme) || component.kind > static_cast<uint32_t>(Kind::transform))
    return str("component '", printable(component.name, 64), "' has unknown kind ", component.kind);
  if (!is_word(component.name, "_-.:"))
    return str("component name '", printable(component.name, 64), "' is not made of letters, digits and _ - . :");
  if (!component.has_functions && is_backend) return str("backend '", component.name, "' has no function open()");
  if (!component.has_functions)
    return str("component '", component.name, "' has no create or destroy function; declare it with arkit::component");
  return {};
}

}  // namespace

ManifestView copy_manifest(const ArkitManifest& manifest) {
  ManifestView view;
  view.magic = manifest.magic;
  if (view.magic != kManifestMagic) return view;
  view.struct_size = manifest.struct_size;
  if (view.struct_size < sizeof(ArkitManifest)) return view;
  view.plugin_api = manifest.plugin_api;
  view.component_count = manifest.component_count;
  view.abi_tag = copy_text(manifest.abi_tag, "abi_tag", view);
  view.id = copy_text(manifest.id, "id", view);
  view.version = copy_text(manifest.version, "version", view);
  view.vendor = copy_text(manifest.vendor, "vendor", view);
  view.license = copy_text(manifest.license, "license", view);
  view.url = copy_text(manifest.url, "url", view);
  if (view.plugin_api != ARKIT_PLUGIN_API || view.component_count > kMaxComponents) return view;
  if (manifest.components == nullptr && view.component_count > 0) {
    view.unreadable = "components";
    return view;
  }
  for (uint32_t i = 0; i < view.component_count; ++i) {
    const ArkitComponent& component = manifest.components[i];
    view.components.push_back({component.kind, copy_text(component.name, "component name", view),
                               copy_text(component.summary, "component summary", view),
                               component.create != nullptr && component.destroy != nullptr});
  }
  return view;
}

ManifestView copy_manifest(const ArkitBackendManifest& manifest) {
  ManifestView view{.backend = true};
  view.struct_size = manifest.struct_size;
  if (view.struct_size < ARKIT_BACKEND_MANIFEST_SIZE_1_0) return view;
  view.magic = manifest.magic;
  if (view.magic != ARKIT_BACKEND_MAGIC) return view;
  view.door_major = manifest.major;
  view.door_minor = manifest.minor;
  if (view.door_major != ARKIT_BACKEND_MAJOR) return view;
  view.id = copy_text(manifest.id, "id", view);
  view.version = copy_text(manifest.version, "version", view);
  view.vendor = copy_text(manifest.vendor, "vendor", view);
  view.license = copy_text(manifest.license, "license", view);
  view.url = copy_text(manifest.url, "url", view);
  view.component_count = 1;
  view.components.push_back({static_cast<uint32_t>(Kind::backend), copy_text(manifest.name, "name", view),
                             copy_text(manifest.summary, "summary", view), manifest.open != nullptr});
  return view;
}

namespace {

std::string refuse_door(const ManifestView& manifest) {
  constexpr std::string_view kBuild =
      "build it with the <arkit/backend_c.h> of this arkit or ask its vendor for that build";
  if (manifest.struct_size < ARKIT_BACKEND_MANIFEST_SIZE_1_0)
    return str("its backend manifest has ", manifest.struct_size, " bytes, this arkit expects at least ",
               ARKIT_BACKEND_MANIFEST_SIZE_1_0, "; ", kBuild);
  if (manifest.magic != ARKIT_BACKEND_MAGIC)
    return str("`arkit_backend_manifest` does not have the door's magic number (found 0x", std::hex, manifest.magic,
               "); ", kBuild);
  if (manifest.door_major != ARKIT_BACKEND_MAJOR)
    return str("built for  backend door ", manifest.door_major, ".", manifest.door_minor, "\nthis arkit backend door ",
               ARKIT_BACKEND_MAJOR, ".", ARKIT_BACKEND_MINOR, "\n", kBuild);
  return {};
}

}  // namespace

std::string refuse_versions(const ManifestView& manifest) {
  if (manifest.backend) return refuse_door(manifest);
  if (manifest.magic != kManifestMagic)
    return str("`arkit_manifest` does not start with arkit's magic number (found 0x", std::hex, manifest.magic,
               "); was it written without ARKIT_PLUGIN?");
  if (manifest.struct_size < sizeof(ArkitManifest))
    return str("its manifest has ", manifest.struct_size, " bytes, this arkit expects at least ", sizeof(ArkitManifest),
               "; ", kRebuild);
  if (manifest.plugin_api != ARKIT_PLUGIN_API)
    return str("built for  plugin API ", manifest.plugin_api, " (", printable(manifest.abi_tag, 100),
               ")\nthis arkit plugin API ", ARKIT_PLUGIN_API, " (" ARKIT_ABI_TAG ")\n", kRebuild);
  if (manifest.abi_tag != ARKIT_ABI_TAG)
    return str("built for  ", printable(manifest.abi_tag, 100), "\nthis arkit " ARKIT_ABI_TAG "\n", kRebuild);
  return {};
}

std::string refuse_contents(const ManifestView& manifest) {
  if (manifest.component_count == 0 || manifest.component_count > kMaxComponents)
    return str("its manifest claims ", manifest.component_count, " components; expected 1 to ", kMaxComponents);
  if (!manifest.unreadable.empty())
    return str("manifest field ", manifest.unreadable, " is missing or longer than ", kMaxText, " bytes");
  if (!is_word(manifest.id, "_-."))
    return str("plugin id '", printable(manifest.id, 64), "' is not made of letters, digits and _ - .");
  for (const ComponentView& component : manifest.components)
    if (std::string why = refuse_component(component, manifest.backend); !why.empty()) return why;
  return {};
}

void describe(const ManifestView& manifest, PluginEntry& entry) {
  entry.id = printable(manifest.id, kMaxText);
  entry.version = printable(manifest.version, kMaxText);
  entry.vendor = printable(manifest.vendor, kMaxText);
  entry.license = printable(manifest.license, kMaxText);
  entry.url = printable(manifest.url, kMaxText);
  entry.abi_tag = manifest.backend && manifest.door_major > 0
                      ? str("backend door ", manifest.door_major, ".", manifest.door_minor)
                      : printable(manifest.abi_tag, kMaxText);
  entry.components.clear();
  for (const ComponentView& component : manifest.components)
    entry.components.push_back({static_cast<Kind>(component.kind), printable(component.name, kMaxText),
                                printable(component.summary, kMaxText)});
}

}  // namespace arkit::plugins
