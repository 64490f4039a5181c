// As many threads as OpenMP really gives. Libraries cut their work for the number they ask for, and with
// OMP_THREAD_LIMIT or OMP_DYNAMIC fewer may come: parts of a product are then never computed, and nobody says so. When
// libarkit_core is loaded, the number is made certain: not dynamic, and not above the limit.
#include <dlfcn.h>

#include <algorithm>

#include <ATen/Parallel.h>

namespace arkit {
namespace {

// OpenMP's functions of whatever runtime LibTorch brings; null when it has none.
template <typename Function>
Function openmp(const char* name) {
  static void* const torch = ::dlopen("libtorch_cpu.so", RTLD_LAZY | RTLD_NOLOAD);
  return torch == nullptr ? nullptr : reinterpret_cast<Function>(::dlsym(torch, name));
}

__attribute__((constructor)) void settle_threads() {
  if (const auto set_dynamic = openmp<void (*)(int)>("omp_set_dynamic")) set_dynamic(0);
  const auto limit = openmp<int (*)()>("omp_get_thread_limit");
  if (limit != nullptr && limit() < at::get_num_threads()) at::set_num_threads(std::max(1, limit()));
}

}  // namespace
}  // namespace arkit
