#include "hand_made.h"
HAND_MADE(arkit::kManifestMagic, sizeof(ArkitManifest), ARKIT_PLUGIN_API, 0x7FFFFFFFU, ARKIT_ABI_TAG,
          "org.example.too_many_components");
