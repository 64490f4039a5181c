#include "hand_made.h"
HAND_MADE(arkit::kManifestMagic, 24, ARKIT_PLUGIN_API, 1, ARKIT_ABI_TAG, "org.example.small_struct");
