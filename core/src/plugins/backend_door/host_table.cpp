#include "plugins/backend_door/host_table.h"

#include <string>

#include <arkit/inference_backend.h>
#include <arkit/log.h>

namespace arkit::backend_door {
namespace {

uint64_t cpu_flags(const HostInfo& host) {
  uint64_t flags = 0;
  const auto add = [&](bool has, uint64_t flag) { flags |= has ? flag : 0; };
  add(host.avx2, ARKIT_CPU_AVX2);
  add(host.avx512f, ARKIT_CPU_AVX512F);
  add(host.avx512_vnni, ARKIT_CPU_AVX512_VNNI);
  add(host.avx512_bf16, ARKIT_CPU_AVX512_BF16);
  add(host.amx_bf16, ARKIT_CPU_AMX_BF16);
  add(host.amx_int8, ARKIT_CPU_AMX_INT8);
  return flags;
}

// Every minor of the major this arkit has is served with one table: it only grows.
const ArkitHost* host_of(uint32_t major, uint32_t) noexcept {
  static const ArkitHost kHost = {
      .struct_size = sizeof(ArkitHost),
      .major = ARKIT_BACKEND_MAJOR,
      .minor = ARKIT_BACKEND_MINOR,
      .version = ARKIT_VERSION,
      .cpu_name = host_info().cpu_name.c_str(),
      .cpu = cpu_flags(host_info()),
      .threads = host_info().threads,
      .release = [](ArkitHeld* held) { delete reinterpret_cast<at::Tensor*>(held); },
      .interrupted = []() -> int32_t { return interrupted() ? 1 : 0; },
  };
  return major == ARKIT_BACKEND_MAJOR ? &kHost : nullptr;
}

}  // namespace

const ArkitDoor& door() noexcept {
  static constexpr ArkitDoor kDoor = {sizeof(ArkitDoor), host_of};
  return kDoor;
}

ArkitHeld* hold(const at::Tensor& tensor) {
  return reinterpret_cast<ArkitHeld*>(new at::Tensor(tensor));
}

}  // namespace arkit::backend_door
