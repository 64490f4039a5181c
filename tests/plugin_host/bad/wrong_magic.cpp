#include "hand_made.h"
HAND_MADE(0x12345678U, sizeof(ArkitManifest), ARKIT_PLUGIN_API, 1, ARKIT_ABI_TAG, "org.example.wrong_magic");
