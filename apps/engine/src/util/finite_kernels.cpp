#include "util/finite_kernels.h"

#include <algorithm>

#include <arkit/kernel_set.h>

namespace arkit::io {
namespace {

// A chunk is tested without branches, so that the loop becomes vector instructions; only a chunk that holds one is
// searched again.
constexpr size_t kChunk = 4096;

template <typename Word>
ARKIT_INLINE bool any_non_finite(const Word* data, size_t n, Word exponent) {
  Word found = 0;
  for (size_t i = 0; i < n; ++i) found = static_cast<Word>(found | static_cast<Word>((data[i] & exponent) == exponent));
  return found != 0;
}

template <typename Word>
size_t search(const Word* data, size_t n, Word exponent) {
  for (size_t begin = 0; begin < n; begin += kChunk) {
    const size_t size = std::min(kChunk, n - begin);
    if (!by_kernel_set<any_non_finite<Word>>(data + begin, size, exponent)) continue;
    for (size_t i = begin; i < begin + size; ++i)
      if ((data[i] & exponent) == exponent) return i;
  }
  return n;
}

}  // namespace

size_t first_non_finite(const uint16_t* data, size_t n, uint16_t exponent) {
  return search(data, n, exponent);
}
size_t first_non_finite(const uint32_t* data, size_t n, uint32_t exponent) {
  return search(data, n, exponent);
}
size_t first_non_finite(const uint64_t* data, size_t n, uint64_t exponent) {
  return search(data, n, exponent);
}

}  // namespace arkit::io
