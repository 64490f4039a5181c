// Denominators of benchmarks: loops that did less than they say would make everything look good.
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "util/peak_kernels.h"

namespace arkit {
namespace {

TEST(PeakKernels, EveryWordIsRead) {
  std::vector<uint64_t> words(1001);
  for (size_t i = 0; i < words.size(); ++i) words[i] = i * 0x9E3779B97F4A7C15ULL;
  for (const size_t count : {size_t{0}, size_t{1}, size_t{7}, size_t{64}, size_t{1001}})
    EXPECT_EQ(sum_of_words({words.data(), count}),
              std::accumulate(words.begin(), words.begin() + static_cast<long>(count), uint64_t{0}));
}

TEST(PeakKernels, EveryRoundAddsItsProducts) {
  const DotLoop loop = dot_loop();
  ASSERT_NE(loop.run, nullptr);
  EXPECT_EQ(loop.run(0, 3, 5), 0) << loop.instruction;
  EXPECT_EQ(loop.run(1, 3, 5), 60);
  EXPECT_EQ(loop.run(1000, 100, -7), 1000 * 4 * 100 * -7);
  EXPECT_GE(loop.operations, 128);
}

}  // namespace
}  // namespace arkit
