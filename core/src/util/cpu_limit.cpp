// Reads ARKIT_CPU and hands it on to the libraries that choose kernels of their own: LibTorch, the MKL inside it, and
// oneDNN. They look at their variables once, so this happens when libarkit_core is loaded, before anything computes.
#include "util/cpu_limit.h"

#include <array>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <vector>

#include <ATen/Context.h>

#include <arkit/error.h>
#include <arkit/kernel_set.h>
#include <arkit/str.h>

namespace arkit {
namespace {

constexpr const char* kVariable = "ARKIT_CPU";

// A limit and what the other libraries call it.
struct Entry {
  std::string_view name;
  CpuLimit limit;
  const char *aten, *mkl, *onednn;
};
constexpr std::array<Entry, 7> kLimits = {{
    {"baseline", CpuLimit::baseline, "default", "SSE4_2", "SSE41"},
    {"avx2", CpuLimit::avx2, "avx2", "AVX2", "AVX2"},
    {"avx512", CpuLimit::avx512, "avx512", "AVX512", "AVX512_CORE"},
    {"avx512_vnni", CpuLimit::avx512_vnni, "avx512", "AVX512_E1", "AVX512_CORE_VNNI"},
    {"avx512_bf16", CpuLimit::avx512_bf16, "avx512", "AVX512_E3", "AVX512_CORE_BF16"},
    {"amx", CpuLimit::amx, nullptr, nullptr, nullptr},
    {"native", CpuLimit::native, nullptr, nullptr, nullptr},
}};

std::string_view given() noexcept {
  const char* value = std::getenv(kVariable);
  return value == nullptr || *value == '\0' ? "native" : value;
}

const Entry* find() noexcept {
  for (const Entry& entry : kLimits)
    if (entry.name == given()) return &entry;
  return nullptr;
}

// What a user has set for one of the libraries wins.
void hand_on(const char* variable, const char* value) noexcept {
  if (value != nullptr) ::setenv(variable, value, 0);
}

// A limit above what the machine has is none: the libraries would take it at its word and run into instructions that are not there.
bool is_above_machine(CpuLimit limit) noexcept {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (limit >= CpuLimit::avx512) return !__builtin_cpu_supports("x86-64-v4");
  return limit >= CpuLimit::avx2 && !__builtin_cpu_supports("x86-64-v3");
#else
  return limit != CpuLimit::baseline;
#endif
}

__attribute__((constructor)) void limit_libraries() {
  const Entry* entry = find();
  if (entry == nullptr || is_above_machine(entry->limit)) return;
  hand_on("ATEN_CPU_CAPABILITY", entry->aten);
  hand_on("MKL_ENABLE_INSTRUCTIONS", entry->mkl);
  hand_on("ONEDNN_MAX_CPU_ISA", entry->onednn);
  // LibTorch asks CPUID itself whether its oneDNN can multiply bf16; below AVX-512 that oneDNN then refuses.
  if (entry->limit < CpuLimit::avx512) at::globalContext().setUserEnabledMkldnn(false);
}

}  // namespace

CpuLimit cpu_limit_or_native() noexcept {
  static const Entry* const entry = find();
  return entry == nullptr ? CpuLimit::native : entry->limit;
}

CpuLimit parsed_cpu_limit() {
  if (const Entry* entry = find()) return entry->limit;
  std::vector<std::string> names;
  for (const Entry& entry : kLimits) names.emplace_back(entry.name);
  throw_usage(str("environment variable ", kVariable, ": '", printable(std::string(given())), "' is unknown; expected ",
                  quoted_list(names)));
}

std::string_view cpu_limit_name() noexcept {
  return kLimits[static_cast<size_t>(cpu_limit_or_native())].name;
}

KernelSet kernel_set() noexcept {
#if defined(__x86_64__)
  static const KernelSet set = [] {
    __builtin_cpu_init();
    const CpuLimit limit = cpu_limit_or_native();
    if (limit >= CpuLimit::avx512 && __builtin_cpu_supports("x86-64-v4")) return KernelSet::avx512;
    return limit >= CpuLimit::avx2 && __builtin_cpu_supports("x86-64-v3") ? KernelSet::avx2 : KernelSet::baseline;
  }();
  return set;
#else
  return KernelSet::baseline;
#endif
}

}  // namespace arkit
