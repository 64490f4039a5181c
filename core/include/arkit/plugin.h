#pragma once
// What a plugin shared object shows to the host: one exported constant, `arkit_manifest`. C structs at the front door,
// C++ behind it, and an ABI tag that says which C++ (docs/adr/0001-plugin-abi.md). A plugin author writes one line:
//
//   ARKIT_PLUGIN("org.example.nf4", "0.1.0", "Example", "Apache-2.0", "https://example.org",
//                arkit::component<arkit::Scheme, Nf4Scheme>("nf4", "4-bit normal float"));

#include <cstdint>

#include <torch/headeronly/version.h>

#include <arkit/export.h>
#include <arkit/header_hash.h>
#include <arkit/kind.h>

// Raised when a public header changes a virtual function, a struct layout or the meaning of a field.
#define ARKIT_PLUGIN_API 1

#define ARKIT_STRINGIFY_(x) #x
#define ARKIT_STRINGIFY(x) ARKIT_STRINGIFY_(x)
#define ARKIT_ABI_TAG \
  "arkit" ARKIT_STRINGIFY(ARKIT_PLUGIN_API) "-torch" ARKIT_STRINGIFY(TORCH_VERSION_MAJOR) "." ARKIT_STRINGIFY( \
      TORCH_VERSION_MINOR) "-gxxabi" ARKIT_STRINGIFY(__GXX_ABI_VERSION) "-cxx11abi" ARKIT_STRINGIFY(           \
      _GLIBCXX_USE_CXX11_ABI) "-headers" ARKIT_HEADER_HASH

extern "C" {

// One thing a plugin offers. `create` returns a pointer to the interface of `kind`; both functions are called by the
// host only.
struct ArkitComponent {
  uint32_t kind;  // arkit::Kind
  const char* name;
  const char* summary;
  void* (*create)();
  void (*destroy)(void*);
};

// Fields may only be appended; `struct_size` tells how many are there. All pointers are to constants of the plugin.
struct ArkitManifest {
  uint32_t magic;
  uint32_t struct_size;
  uint32_t plugin_api;
  uint32_t component_count;
  const char* abi_tag;
  const char* id;
  const char* version;
  const char* vendor;
  const char* license;
  const char* url;
  const ArkitComponent* components;
};

}  // extern "C"

namespace arkit {

inline constexpr uint32_t kManifestMagic = 0x54494B41;  // "AKIT", little endian

template <typename Interface>
inline constexpr Kind kKindOf = [] {
  static_assert(sizeof(Interface*) == 0, "component<Interface, ...>: Interface is not an arkit interface");
  return Kind{};
}();
template <>
inline constexpr Kind kKindOf<Scheme> = Kind::scheme;
template <>
inline constexpr Kind kKindOf<Exporter> = Kind::exporter;
template <>
inline constexpr Kind kKindOf<InferenceBackend> = Kind::backend;
template <>
inline constexpr Kind kKindOf<ModelAdapter> = Kind::model;
template <>
inline constexpr Kind kKindOf<ModelReader> = Kind::reader;
template <>
inline constexpr Kind kKindOf<Transform> = Kind::transform;

// The cast to the interface happens here, so multiple inheritance in a plugin cannot bite.
template <typename Interface, typename Implementation>
constexpr ArkitComponent component(const char* name, const char* summary) {
  static_assert(kKindOf<Interface> != Kind::backend,
                "backends come through <arkit/backend_c.h>: declare one with ARKIT_BACKEND of <arkit/sdk/backend.h>");
  return {static_cast<uint32_t>(kKindOf<Interface>), name, summary,
          +[]() -> void* { return static_cast<Interface*>(new Implementation()); },
          +[](void* object) { delete static_cast<Interface*>(object); }};
}

}  // namespace arkit

// Exactly one per shared object, at namespace scope, at the end of one .cpp file.
#define ARKIT_PLUGIN(plugin_id, plugin_version, plugin_vendor, plugin_license, plugin_url, ...) \
  namespace {                                                                                   \
  constexpr ArkitComponent arkit_components_[] = {__VA_ARGS__};                                 \
  }                                                                                             \
  extern "C" ARKIT_EXPORT const ArkitManifest arkit_manifest;                                   \
  extern "C" const ArkitManifest arkit_manifest = {                                             \
      ::arkit::kManifestMagic, sizeof(ArkitManifest),                                           \
      ARKIT_PLUGIN_API,        sizeof(arkit_components_) / sizeof(arkit_components_[0]),        \
      ARKIT_ABI_TAG,           plugin_id,                                                       \
      plugin_version,          plugin_vendor,                                                   \
      plugin_license,          plugin_url,                                                      \
      arkit_components_}
