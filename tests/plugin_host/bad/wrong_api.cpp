#include "hand_made.h"
HAND_MADE(arkit::kManifestMagic, sizeof(ArkitManifest), 99, 1, "arkit99-torch2.13-gxxabi1017-cxx11abi1",
          "org.example.wrong_api");
