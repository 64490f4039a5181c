#pragma once
// numpy.random.default_rng(seed): PCG64 seeded by SeedSequence. Its permutation is the order that
// datasets.Dataset.shuffle(seed) gives (docs/spec/calibration.md 7).

#include <cstdint>
#include <utility>
#include <vector>

#include <arkit/export.h>

namespace arkit {

class ARKIT_EXPORT NumpyRandom {
 public:
  explicit NumpyRandom(uint64_t seed);
  // A permutation of 0 .. n - 1 as Generator.permutation(n) and Generator.shuffle(list) give it. 0 <= n < 2^32.
  [[nodiscard]] std::vector<int64_t> permutation(int64_t n);

 private:
  uint32_t next32();
  uint32_t up_to(uint32_t max);
  void step();

  uint64_t state_[2], increment_[2];  // low half first
  uint32_t half_ = 0;
  bool has_half_ = false;
};

// The first permutation of a new generator.
[[nodiscard]] ARKIT_EXPORT std::vector<int64_t> numpy_permutation(uint64_t seed, int64_t n);

}  // namespace arkit
