#include "hpu_runtime.h"

#include <dlfcn.h>

#include <cstdlib>

#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

namespace arkit::hpu {
namespace {

bool opened(const char* library, std::string& why) {
  // The bridge needs the runtime's symbols, LibTorch's registries need the bridge's.
  if (::dlopen(library, RTLD_NOW | RTLD_GLOBAL) != nullptr) return true;
  const char* words = ::dlerror();
  why = words == nullptr ? "it cannot be opened" : words;
  return false;
}

}  // namespace

bool load_runtime(std::string& why) {
  if (!opened("libSynapse.so", why)) {
    why = "no Gaudi runtime: " + why +
          "; install the vendor's driver and runtime, and see that 'hl-smi' lists the accelerator";
    return false;
  }
  if (c10::Dispatcher::singleton().findSchema({kOperator, ""}).has_value()) return true;
  const char* bridge = std::getenv("ARKIT_HPU_BRIDGE");
  if (bridge == nullptr || bridge[0] != '/') {
    why = std::string("libSynapse.so is here, and nothing has registered the operator ") + kOperator +
          "; set ARKIT_HPU_BRIDGE to the absolute path of the vendor's PyTorch library that does";
    return false;
  }
  std::string failure;
  if (!opened(bridge, failure)) {
    why = "ARKIT_HPU_BRIDGE cannot be opened (" + failure + "); it has to be made for the LibTorch of this plugin";
    return false;
  }
  if (c10::Dispatcher::singleton().findSchema({kOperator, ""}).has_value()) return true;
  why = std::string(bridge) + " of ARKIT_HPU_BRIDGE does not register the operator " + kOperator;
  return false;
}

int device_count(std::string& why) {
  if (!c10::impl::hasDeviceGuardImpl(c10::DeviceType::HPU)) {
    why = "the vendor's library has not registered devices of kind hpu with LibTorch";
    return 0;
  }
  const int count = c10::impl::getDeviceGuardImpl(c10::DeviceType::HPU)->deviceCount();
  if (count <= 0) why = "the vendor's runtime sees no accelerator; see that 'hl-smi' lists it";
  return count;
}

}  // namespace arkit::hpu
