#include "block_values.h"

#include <bit>

#include <arkit/kernel_set.h>

namespace arkit::gguf_k {
namespace {

ARKIT_INLINE bool finite(const float* x, int64_t n) {
  constexpr uint32_t kExponent = 0x7F800000U;
  uint32_t found = 0;
  for (int64_t i = 0; i < n; ++i)
    found |= static_cast<uint32_t>((std::bit_cast<uint32_t>(x[i]) & kExponent) == kExponent);
  return found == 0;
}

ARKIT_INLINE void values(CodedGroups from, float* to) {
  for (int64_t g = 0; g < from.groups; ++g, from.codes += from.group, to += from.group) {
    const float scale = from.scales[g];
    if (from.table != nullptr)
      for (int i = 0; i < from.group; ++i) to[i] = scale * from.table[from.codes[i]];
    else if (from.minima == nullptr)
      for (int i = 0; i < from.group; ++i) to[i] = scale * static_cast<float>(from.codes[i] - from.zero);
    else
      for (int i = 0; i < from.group; ++i)
        to[i] = scale * static_cast<float>(from.codes[i] - from.zero) - from.minima[g];
  }
}

}  // namespace

bool all_finite(const float* x, int64_t n) noexcept {
  return by_kernel_set<finite>(x, n);
}

void put_values(const CodedGroups& from, float* to) noexcept {
  by_kernel_set<values>(from, to);
}

}  // namespace arkit::gguf_k
