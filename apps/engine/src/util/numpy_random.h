#pragma once
// numpy.random.default_rng(seed).permutation(n): PCG64 seeded by SeedSequence. It is the order
// datasets.Dataset.shuffle(seed) gives (docs/spec/calibration.md 7).

#include <cstdint>
#include <vector>

#include <arkit/export.h>

namespace arkit {

// 0 <= n < 2^32.
[[nodiscard]] ARKIT_EXPORT std::vector<int64_t> numpy_permutation(uint64_t seed, int64_t n);

}  // namespace arkit
