#pragma once
// ARKIT_CPU: the least CPU this process is to behave like. No LibTorch here.

#include <cstdint>
#include <string_view>

#include <arkit/export.h>

namespace arkit {

// Instruction sets in the order in which CPUs got them.
enum class CpuLimit : uint8_t { baseline, avx2, avx512, avx512_vnni, avx512_bf16, amx, native };

// Throws ErrorCode::usage for an unknown value. `cpu_limit_or_native` is for places that cannot report an error.
[[nodiscard]] ARKIT_INTERNAL CpuLimit parsed_cpu_limit();
[[nodiscard]] CpuLimit cpu_limit_or_native() noexcept;
[[nodiscard]] ARKIT_INTERNAL std::string_view cpu_limit_name() noexcept;  // of the latter

// "GenuineIntel" by CPUID: for libraries that treat other CPUs worse whatever their instruction sets.
[[nodiscard]] ARKIT_INTERNAL bool intel_cpu() noexcept;

}  // namespace arkit
