#include "hand_made.h"
HAND_MADE(arkit::kManifestMagic, sizeof(ArkitManifest), ARKIT_PLUGIN_API, 1, ARKIT_ABI_TAG, "org.example\033[2J");
