// Runs under every ARKIT_CPU (core_baseline, core_avx2): whatever it says, everything that chooses kernels follows.
#include "util/cpu_limit.h"

#include <cstdlib>
#include <string>

#include <ATen/Context.h>
#include <ATen/Version.h>
#include <gtest/gtest.h>

#include <arkit/inference_backend.h>
#include <arkit/kernel_set.h>
#include <arkit/sdk/kernels.h>

namespace arkit {
namespace {

TEST(CpuLimit, LowersWhatTheHostReportsAndNeverRaisesIt) {
  const CpuLimit limit = parsed_cpu_limit();
  const HostInfo& host = host_info();
  if (limit < CpuLimit::avx2) EXPECT_FALSE(host.avx2);
  if (limit < CpuLimit::avx512) EXPECT_FALSE(host.avx512f);
  if (limit < CpuLimit::avx512_vnni) EXPECT_FALSE(host.avx512_vnni);
  if (limit < CpuLimit::avx512_bf16) EXPECT_FALSE(host.avx512_bf16);
  if (limit < CpuLimit::amx) EXPECT_FALSE(host.amx_bf16 || host.amx_int8);
#if defined(__x86_64__)
  EXPECT_LE(host.avx2, __builtin_cpu_supports("avx2") != 0);
  EXPECT_LE(host.avx512f, __builtin_cpu_supports("avx512f") != 0);
  if (limit == CpuLimit::native) EXPECT_EQ(host.avx512f, __builtin_cpu_supports("avx512f") != 0);
#endif
}

TEST(CpuLimit, IsFollowedByKernelsAndByLibTorch) {
  const CpuLimit limit = parsed_cpu_limit();
  if (limit < CpuLimit::avx2) {
    EXPECT_EQ(kernel_set(), KernelSet::baseline);
    EXPECT_EQ(at::get_cpu_capability(), "DEFAULT");
  } else if (limit < CpuLimit::avx512) {
    EXPECT_NE(kernel_set(), KernelSet::avx512);
    EXPECT_NE(at::get_cpu_capability(), "AVX512");
  }
  EXPECT_EQ(at::globalContext().userEnabledMkldnn(), limit >= CpuLimit::avx512);
  const int avx2 = 0, avx512 = 0;
  EXPECT_EQ(sdk::cpu_runs(avx512, avx2, avx512), kernel_set() == KernelSet::avx512);
  EXPECT_EQ(sdk::cpu_runs(avx2, avx2, avx512), kernel_set() != KernelSet::baseline);
}

TEST(CpuLimit, NamesTheVariableInForce) {
  const char* given = std::getenv("ARKIT_CPU");
  EXPECT_EQ(cpu_limit_name(), given == nullptr || *given == '\0' ? "native" : given);
}

ARKIT_INLINE int doubled(int x) {
  return 2 * x;
}
TEST(KernelSet, RunsTheBodyItIsGiven) {
  EXPECT_EQ(by_kernel_set<doubled>(21), 42);
}

}  // namespace
}  // namespace arkit
