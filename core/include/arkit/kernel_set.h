#pragma once
// Which instruction sets the element loops of this process use, and how one loop is compiled for all of them. The
// environment variable ARKIT_CPU lowers the choice (host_info() follows it too). No LibTorch here, nor anything with
// inline functions: files compiled for one instruction set include this.

#include <cstdint>

#include <arkit/export.h>

// A helper that is not inlined into a compiled set would keep the baseline's instructions.
#define ARKIT_INLINE inline __attribute__((always_inline))

namespace arkit {

// Widest sets of x86-64: v3 (AVX2, FMA, F16C) and v4 (AVX-512 F, BW, CD, DQ and VL). Others have the baseline only.
enum class KernelSet : uint8_t { baseline, avx2, avx512 };

// What CPUID shows and ARKIT_CPU allows; the same for the whole life of the process. A value of ARKIT_CPU that means
// nothing counts as native here: host_info() refuses it.
[[nodiscard]] ARKIT_EXPORT KernelSet kernel_set() noexcept;

namespace kernel_sets {
#if defined(__x86_64__)
template <auto Body, typename... A>
__attribute__((target("arch=x86-64-v4"))) auto avx512(A... a) {
  return Body(a...);
}
template <auto Body, typename... A>
__attribute__((target("arch=x86-64-v3"))) auto avx2(A... a) {
  return Body(a...);
}
#endif
}  // namespace kernel_sets

// Body(a...) compiled for this CPU. Body is an ARKIT_INLINE function without static variables; arguments are copied.
template <auto Body, typename... A>
auto by_kernel_set(A... a) {
#if defined(__x86_64__)
  static const KernelSet set = kernel_set();
  if (set == KernelSet::avx512) return kernel_sets::avx512<Body>(a...);
  if (set == KernelSet::avx2) return kernel_sets::avx2<Body>(a...);
#endif
  return Body(a...);
}

}  // namespace arkit
