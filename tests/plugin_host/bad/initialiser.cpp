// A static initialiser that does the harm its file's name says; tests copy the file. The manifest is fine.
#include <csignal>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include <dlfcn.h>
#include <unistd.h>

#include "hand_made.h"

namespace {

int harm() {
  Dl_info self{};
  ::dladdr(reinterpret_cast<const void*>(&harm), &self);
  const std::string name = self.dli_fname;
  const auto called = [&](const char* what) { return name.ends_with(std::string("_") + what + ".so"); };
  if (called("throws")) throw std::runtime_error("no licence for this machine");
  if (called("throws_int")) throw 7;
  if (called("aborts")) std::abort();
  if (called("crashes")) ::raise(SIGSEGV);
  if (called("exits")) std::exit(0);
  if (called("exits_at_once")) ::_exit(3);
  while (called("hangs")) ::pause();
  return 0;
}
const int kHarm = harm();

}  // namespace

extern "C" ARKIT_EXPORT int harm_done() {
  return kHarm;
}

HAND_MADE(arkit::kManifestMagic, sizeof(ArkitManifest), ARKIT_PLUGIN_API, 1, ARKIT_ABI_TAG, "org.example.initialiser");
