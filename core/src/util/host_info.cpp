// What the machine can do: instruction sets by CPUID, as far as ARKIT_CPU allows; threads by affinity mask.
#include <sched.h>

#include <algorithm>
#include <array>
#include <cstring>

#include <arkit/inference_backend.h>

#include "util/cpu_limit.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace arkit {
namespace {

int available_threads() {
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof(set), &set) == 0 ? std::max(1, CPU_COUNT(&set)) : 1;
}

#if defined(__x86_64__)
struct Leaf {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Leaf cpuid(uint32_t leaf, uint32_t subleaf) {
  Leaf out;
  __get_cpuid_count(leaf, subleaf, &out.eax, &out.ebx, &out.ecx, &out.edx);
  return out;
}

// The 48-byte brand string of leaves 0x80000002..4, without padding.
std::string brand() {
  std::array<char, 49> text{};
  for (uint32_t i = 0; i < 3; ++i) {
    const Leaf leaf = cpuid(0x80000002U + i, 0);
    std::memcpy(text.data() + 16 * i, &leaf, 16);
  }
  std::string name(text.data());
  name.erase(0, name.find_first_not_of(' '));
  name.erase(name.find_last_not_of(' ') + 1);
  return name;
}

// Do the kernel and CPU keep the state of 512-bit registers (XCR0 bits 1, 2, 5-7)? __builtin_cpu_supports asks the same
// for the features it knows; AMX tiles need bits 17 and 18 as well.
bool saves_tiles() {
  if ((cpuid(1, 0).ecx & (1U << 27)) == 0) return false;  // no OSXSAVE
  uint32_t low = 0, high = 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  constexpr uint32_t kTiles = (1U << 17) | (1U << 18);
  return (low & kTiles) == kTiles;
}

HostInfo detect() {
  HostInfo host;
  __builtin_cpu_init();
  const CpuLimit limit = parsed_cpu_limit();
  host.avx2 = limit >= CpuLimit::avx2 && __builtin_cpu_supports("avx2") != 0;
  host.avx512f = limit >= CpuLimit::avx512 && __builtin_cpu_supports("avx512f") != 0;
  host.avx512_vnni = limit >= CpuLimit::avx512_vnni && __builtin_cpu_supports("avx512vnni") != 0;
  host.avx512_bf16 = limit >= CpuLimit::avx512_bf16 && host.avx512f && (cpuid(7, 1).eax & (1U << 5)) != 0;
  const uint32_t features = cpuid(7, 0).edx;
  const bool tiles = limit >= CpuLimit::amx && (features & (1U << 24)) != 0 && saves_tiles();
  host.amx_bf16 = tiles && (features & (1U << 22)) != 0;
  host.amx_int8 = tiles && (features & (1U << 25)) != 0;
  host.cpu_name = brand();
  host.threads = available_threads();
  return host;
}
#else
HostInfo detect() {
  HostInfo host;
  (void)parsed_cpu_limit();
  host.threads = available_threads();
  host.cpu_name = "unknown";
  return host;
}
#endif

}  // namespace

bool intel_cpu() noexcept {
#if defined(__x86_64__)
  const Leaf vendor = cpuid(0, 0);
  return vendor.ebx == 0x756e6547 && vendor.edx == 0x49656e69 && vendor.ecx == 0x6c65746e;  // "Genu" "ineI" "ntel"
#else
  return false;
#endif
}

const HostInfo& host_info() {
  static const HostInfo host = detect();
  return host;
}

}  // namespace arkit
