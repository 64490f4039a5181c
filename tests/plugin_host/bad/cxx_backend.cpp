#include "../sample_reader.h"

// A backend by the door of C++, which is closed to them.
namespace {
constexpr ArkitComponent kComponents[] = {{static_cast<uint32_t>(arkit::Kind::backend), "old_way", "a backend",
                                           +[]() -> void* { return nullptr; }, +[](void*) {}}};
}
extern "C" ARKIT_EXPORT const ArkitManifest arkit_manifest;
extern "C" const ArkitManifest arkit_manifest = {arkit::kManifestMagic,
                                                 sizeof(ArkitManifest),
                                                 ARKIT_PLUGIN_API,
                                                 1,
                                                 ARKIT_ABI_TAG,
                                                 "org.example.old_way",
                                                 "1.0",
                                                 "Example",
                                                 "Apache-2.0",
                                                 "https://example.org",
                                                 kComponents};
