#include "int_kernels.h"

namespace arkit::int_scheme {

bool cpu_runs(const Kernels& kernels) noexcept {
  return sdk::cpu_runs(kernels, kernels_avx2, kernels_avx512);
}

const Kernels& kernels() noexcept {
  static const Kernels& best = sdk::best_kernels(kernels_baseline, kernels_avx2, kernels_avx512);
  return best;
}

}  // namespace arkit::int_scheme
