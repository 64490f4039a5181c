// Kernels of core against their `_ref` twins, at sizes around their chunks and lanes.

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "autoscheme/score_kernels.h"
#include "autoscheme/score_kernels_ref.h"
#include "rounding/error_kernels.h"
#include "rounding/error_kernels_ref.h"
#include "src/walsh_kernels.h"
#include "src/walsh_kernels_ref.h"
#include "util/finite_kernels.h"
#include "util/finite_kernels_ref.h"

namespace arkit {
namespace {

std::vector<float> values(int64_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> out(static_cast<size_t>(count));
  for (float& x : out) x = normal(random);
  return out;
}

// The first bits of a float: the value is what bfloat16 holds exactly.
float shortened(float x) {
  return std::bit_cast<float>(std::bit_cast<uint32_t>(x) & 0xFFFF0000U);
}
uint16_t bits_of(float x) {
  return static_cast<uint16_t>(std::bit_cast<uint32_t>(x) >> 16);
}

TEST(Kernels, WalshTransformsLikeItsMatrix) {
  for (const int64_t n : {1, 2, 4, 8, 16, 64, 512}) {
    constexpr int64_t kRows = 3;
    const std::vector<float> in = values(kRows * n, 1);
    std::vector<float> out(in.size()), expected(in.size());
    rotation::kernels::walsh_transform<float>(in.data(), out.data(), kRows, n, 0.25F);
    rotation::kernels::walsh_transform_ref<float>(in.data(), expected.data(), kRows, n, 0.25F);
    // log2(n) additions of values up to about 4 * sqrt(n), each half a unit of the last place off.
    const float tolerance = 1e-6F * static_cast<float>(n);
    for (size_t i = 0; i < out.size(); ++i) ASSERT_NEAR(out[i], expected[i], tolerance) << n << " at " << i;
    std::vector<double> wide(in.begin(), in.end()), wide_expected(in.size());
    rotation::kernels::walsh_transform_ref<double>(wide.data(), wide_expected.data(), kRows, n, -2.0);
    rotation::kernels::walsh_transform<double>(wide.data(), wide.data(), kRows, n, -2.0);  // in place
    for (size_t i = 0; i < wide.size(); ++i) ASSERT_NEAR(wide[i], wide_expected[i], 1e-12 * static_cast<double>(n));
  }
}

template <typename Float, typename Word>
void expect_same_place(Word exponent) {
  for (const size_t n : {size_t{1}, size_t{15}, size_t{4095}, size_t{4096}, size_t{4097}, size_t{9000}})
    for (const size_t at : {size_t{0}, n / 2, n - 1, n}) {
      std::vector<Float> data(n, std::numeric_limits<Float>::max());
      if (at < n)
        data[at] = at % 2 == 0 ? std::numeric_limits<Float>::quiet_NaN() : -std::numeric_limits<Float>::infinity();
      std::vector<Word> words(n);
      for (size_t i = 0; i < n; ++i) words[i] = std::bit_cast<Word>(data[i]);
      EXPECT_EQ(io::first_non_finite(words.data(), n, exponent), io::first_non_finite_ref(data.data(), n))
          << n << " " << at;
    }
}

TEST(Kernels, NonFiniteNumbersAreFoundWhereTheyAre) {
  expect_same_place<float, uint32_t>(0x7F800000U);
  expect_same_place<double, uint64_t>(0x7FF0000000000000ULL);
  const std::vector<uint16_t> brain{bits_of(1.0F), 0x7F7F, 0xFF80, 0x7FC0};  // the largest, -inf, NaN
  EXPECT_EQ(io::first_non_finite(brain.data(), 2, uint16_t{0x7F80}), 2U);
  EXPECT_EQ(io::first_non_finite(brain.data(), 4, uint16_t{0x7F80}), 2U);
}

TEST(Kernels, ErrorSumsAreThoseOfDoubles) {
  for (const int64_t width : {1, 15, 16, 17, 100, 4099}) {
    constexpr int64_t kRows = 5;
    std::vector<float> w = values(kRows * width, 2), d = values(kRows * width, 3);
    for (float& x : w) x = shortened(x);
    for (float& x : d) x = shortened(x);
    std::vector<uint16_t> w16, d16;
    for (const float x : w) w16.push_back(bits_of(x));
    for (const float x : d) d16.push_back(bits_of(x));
    const auto expected = rounding::error_sums_ref(w.data(), d.data(), kRows, width);
    for (const auto& sums : {rounding::error_sums(w.data(), d.data(), kRows, width),
                             rounding::error_sums(w16.data(), d16.data(), kRows, width)}) {
      // width / 16 float additions a lane, all of one sign.
      EXPECT_NEAR(sums.error / expected.error, 1.0, 2e-5) << width;
      EXPECT_NEAR(sums.norm / expected.norm, 1.0, 2e-5) << width;
    }
  }
}

TEST(Kernels, ScoresAreSumsOfDoubles) {
  using namespace auto_scheme::kernels;
  for (const int64_t n : {int64_t{1}, int64_t{7}, kChunk - 1, kChunk, kChunk + 9, 3 * kChunk}) {
    std::vector<float> f = values(n, 4), g = values(n, 5), w = values(n, 6), q = values(n, 7);
    for (std::vector<float>* all : {&f, &g, &w, &q})
      for (float& x : *all) x = shortened(x);
    for (float& x : f) x = std::fabs(x);
    std::vector<BFloat16> g16, w16, q16;
    for (int64_t i = 0; i < n; ++i) {
      g16.push_back({bits_of(g[static_cast<size_t>(i)])});
      w16.push_back({bits_of(w[static_cast<size_t>(i)])});
      q16.push_back({bits_of(q[static_cast<size_t>(i)])});
    }
    constexpr double kRelative = 1e-4;  // up to 4096 float additions of one sign
    const double weighted = weighted_squared_error_ref(f.data(), w.data(), q.data(), n);
    EXPECT_NEAR(weighted_squared_error(f.data(), w.data(), q.data(), n) / weighted, 1.0, kRelative);
    EXPECT_NEAR(weighted_squared_error(f.data(), w16.data(), q16.data(), n) / weighted, 1.0, kRelative);
    const double absolute = absolute_products_ref(g.data(), w.data(), q.data(), n);
    EXPECT_NEAR(absolute_products(g.data(), w.data(), q.data(), n) / absolute, 1.0, kRelative);
    EXPECT_NEAR(absolute_products(g.data(), w16.data(), q16.data(), n) / absolute, 1.0, kRelative);
    const double squared = squared_products_ref(g.data(), w.data(), q.data(), n);
    EXPECT_NEAR(squared_products(g.data(), w.data(), q.data(), n) / squared, 1.0, kRelative);
    EXPECT_NEAR(squared_products(g16.data(), w16.data(), q16.data(), n) / squared, 1.0, kRelative);
    std::vector<float> sums = w;
    add_squares(g.data(), n, sums.data());
    for (size_t i = 0; i < sums.size(); ++i) ASSERT_FLOAT_EQ(sums[i], w[i] + g[i] * g[i]);
  }
}

}  // namespace
}  // namespace arkit
