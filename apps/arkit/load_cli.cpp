#include "load_cli.h"

#include <cstdlib>

#include <dlfcn.h>

#include <boost/dll/runtime_symbol_info.hpp>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::cli {
namespace {

// The LibTorch a user points at, opened by full path: the loader then finds it by name for everything that follows.
void open_torch_of_environment() {
  const char* folder = ::secure_getenv("ARKIT_TORCH_DIR");
  if (folder == nullptr || folder[0] != '/') return;
  for (const char* name : {"libc10.so", "libtorch_cpu.so"})
    ::dlopen((std::filesystem::path(folder) / "lib" / name).c_str(), RTLD_NOW | RTLD_LOCAL);
}

}  // namespace

std::filesystem::path program_folder() {
  std::error_code failed;
  const std::filesystem::path program = boost::dll::program_location(failed);
  if (failed) throw_resource(str("the folder of this program cannot be found (/proc/self/exe): ", failed.message()));
  return program.parent_path();
}

// A plain dlopen rather than boost::dll: its loader message is what a user needs here.
RunFunction load_cli(const std::filesystem::path& program_dir) {
  const std::filesystem::path library = program_dir.parent_path() / "lib/libarkit_cli.so";
  void* handle = ::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const std::string first = ::dlerror();
    if (first.find("libtorch") != std::string::npos || first.find("libc10") != std::string::npos) {
      open_torch_of_environment();
      handle = ::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
    }
    if (handle == nullptr)
      throw_resource(str("cannot load ", library.string(), ": ", printable(first, 500),
                         "; set ARKIT_TORCH_DIR to the LibTorch arkit was built with, or install arkit again"));
  }
  void* symbol = ::dlsym(handle, "arkit_cli_run");
  if (symbol == nullptr) throw_resource(str(library.string(), " has no arkit_cli_run; install arkit again"));
  return reinterpret_cast<RunFunction>(symbol);
}

}  // namespace arkit::cli
