#pragma once
// What the element kernels of number formats have in common: how they are told about a grouped matrix, and which of the
// sets compiled for several instruction sets this CPU runs. No LibTorch here; kernel_tensors.h is the bridge to it.

#include <cstdint>

#include <arkit/kernel_set.h>

namespace arkit::sdk {

enum class Dtype : uint8_t { f32, bf16, f16 };

// Group i is part k = i % per_row of row i / per_row: elements [k * group, min((k + 1) * group, in)) of that row.
struct Groups {
  int64_t in = 0, group = 0, per_row = 0;
};

// A plugin compiles one source into three sets (simd16.h): `baseline` for any x86-64, `avx2` with F16C, `avx512` with
// F, BW, DQ and VL. Does this process run the set `kernels`, one of the three or any other portable one? kernel_set()
// says what the CPU can and ARKIT_CPU allows.
template <typename Kernels>
[[nodiscard]] bool cpu_runs(const Kernels& kernels, const Kernels& avx2, const Kernels& avx512) noexcept {
  if (&kernels == &avx512) return kernel_set() == KernelSet::avx512;
  if (&kernels == &avx2) return kernel_set() != KernelSet::baseline;
  return true;
}

// The widest set this CPU runs.
template <typename Kernels>
[[nodiscard]] const Kernels& best_kernels(const Kernels& baseline, const Kernels& avx2,
                                          const Kernels& avx512) noexcept {
  if (cpu_runs(avx512, avx2, avx512)) return avx512;
  return cpu_runs(avx2, avx2, avx512) ? avx2 : baseline;
}

}  // namespace arkit::sdk
