#pragma once
// Python's random.Random(seed) as far as sample order needs it: MT19937 seeded by init_by_array, randbelow by
// rejection, shuffle (docs/spec/calibration.md 7). Exact, so that calibration sees the same samples in the same order
// as the reference.

#include <cstdint>
#include <random>
#include <utility>
#include <vector>

#include <arkit/export.h>

namespace arkit {

class ARKIT_INTERNAL PythonRandom {
 public:
  explicit PythonRandom(uint64_t seed);

  [[nodiscard]] uint32_t next32() { return static_cast<uint32_t>(engine_()); }
  // Uniform in [0, n), n > 0: draws bit_length(n) bits until the value is below n.
  [[nodiscard]] uint64_t randbelow(uint64_t n);

  template <typename T>
  void shuffle(std::vector<T>& items) {
    for (size_t i = items.size(); i-- > 1;) std::swap(items[i], items[randbelow(i + 1)]);
  }

 private:
  std::mt19937 engine_;
};

}  // namespace arkit
