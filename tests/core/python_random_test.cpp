#include "util/python_random.h"

#include <gtest/gtest.h>

#include <numeric>

namespace arkit {
namespace {

std::vector<int> shuffled(uint64_t seed, int n) {
  PythonRandom random(seed);
  std::vector<int> items(static_cast<size_t>(n));
  std::iota(items.begin(), items.end(), 0);
  random.shuffle(items);
  return items;
}

// Values printed by CPython: random.Random(seed).shuffle(list(range(n))).
TEST(PythonRandom, ShufflesLikeCPython) {
  EXPECT_EQ(shuffled(42, 16), (std::vector<int>{7, 9, 5, 6, 14, 10, 12, 8, 1, 2, 13, 15, 4, 11, 0, 3}));
  EXPECT_EQ(shuffled(42, 8), (std::vector<int>{3, 4, 6, 7, 2, 5, 0, 1}));
  EXPECT_EQ(shuffled(uint64_t{1} << 40, 8), (std::vector<int>{6, 7, 4, 3, 0, 5, 2, 1}));
}

TEST(PythonRandom, BoundsBeyond32Bits) {
  PythonRandom random(7);
  EXPECT_EQ(random.randbelow(uint64_t{1} << 40), 868231286071ULL);
}

}  // namespace
}  // namespace arkit
