// Built for another LibTorch. Its static initialiser leaves a mark: the host must refuse before running it.
#include <cstdlib>

#include "hand_made.h"

namespace {
const int kMark = setenv("ARKIT_TEST_WRONG_ABI_RAN", "yes", 1);
}
extern "C" ARKIT_EXPORT int wrong_abi_mark() {
  return kMark;
}

HAND_MADE(arkit::kManifestMagic, sizeof(ArkitManifest), ARKIT_PLUGIN_API, 1, "arkit1-torch2.12-gxxabi1017-cxx11abi1",
          "org.example.wrong_abi");
