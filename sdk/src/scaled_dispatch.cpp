#include "scaled_kernels.h"

namespace arkit::sdk::scaled {

bool cpu_runs(const Kernels& kernels) noexcept {
  if (&kernels == &kernels_avx512)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (&kernels == &kernels_avx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c");
  return true;
}

const Kernels& kernels() noexcept {
  static const Kernels& best = cpu_runs(kernels_avx512) ? kernels_avx512
                               : cpu_runs(kernels_avx2) ? kernels_avx2
                                                        : kernels_baseline;
  return best;
}

}  // namespace arkit::sdk::scaled
