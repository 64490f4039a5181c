#include "inference/sampler.h"

#include <array>
#include <cmath>

#include <gtest/gtest.h>

#include <arkit/error.h>

namespace arkit {
namespace {

// Probabilities 0.5, 0.25, 0.125, 0.125 in a shuffled order.
const std::array<float, 4> kLogits = {std::log(0.125F), std::log(0.5F), std::log(0.25F), std::log(0.125F)};

std::array<double, 4> shares(const SamplingOptions& options, int draws = 20000) {
  Sampler sampler(options);
  std::array<double, 4> out{};
  for (int i = 0; i < draws; ++i) out[static_cast<size_t>(sampler.pick(kLogits))] += 1.0 / draws;
  return out;
}

// Five standard deviations of a share near 0.5 over 20000 draws.
constexpr double kSpread = 0.018;

TEST(Sampler, GreedyTakesTheFirstLargest) {
  Sampler sampler({.temperature = 0.0});
  EXPECT_EQ(sampler.pick(std::array<float, 4>{1.0F, 3.0F, 3.0F, 2.0F}), 1);
}

TEST(Sampler, FollowsTheDistribution) {
  const auto got = shares({.temperature = 1.0});
  const std::array<double, 4> wanted = {0.125, 0.5, 0.25, 0.125};
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(got[i], wanted[i], kSpread) << i;
}

TEST(Sampler, TemperatureFlattens) {
  // Square roots of the probabilities, normalised.
  const double a = std::sqrt(0.5), b = std::sqrt(0.25), c = std::sqrt(0.125), sum = a + b + 2 * c;
  const auto got = shares({.temperature = 2.0});
  EXPECT_NEAR(got[1], a / sum, kSpread);
  EXPECT_NEAR(got[0], c / sum, kSpread);
}

TEST(Sampler, TopKKeepsTheLargestAndTheLowerIdOfEqualOnes) {
  const auto got = shares({.temperature = 1.0, .top_k = 3});
  EXPECT_EQ(got[3], 0.0);
  EXPECT_NEAR(got[1], 0.5 / 0.875, kSpread);
}

TEST(Sampler, TopPKeepsTheFewestThatReachIt) {
  const auto got = shares({.temperature = 1.0, .top_p = 0.7});
  EXPECT_EQ(got[0] + got[3], 0.0);
  EXPECT_NEAR(got[1], 0.5 / 0.75, kSpread);
  EXPECT_NEAR(shares({.temperature = 1.0, .top_p = 0.01})[1], 1.0, 1e-9);
}

TEST(Sampler, SurvivesMinusInfinity) {
  Sampler sampler({.temperature = 1.0});
  const std::array<float, 3> logits = {-INFINITY, 0.0F, -INFINITY};
  for (int i = 0; i < 10; ++i) EXPECT_EQ(sampler.pick(logits), 1);
}

TEST(Sampler, OptionsOutsideTheirRangeAreRefused) {
  for (const SamplingOptions& bad :
       {SamplingOptions{.temperature = -0.1}, SamplingOptions{.temperature = NAN}, SamplingOptions{.top_p = 0.0},
        SamplingOptions{.top_p = 1.1}, SamplingOptions{.top_k = -1}})
    EXPECT_THROW(check_sampling(bad), Error);
}

}  // namespace
}  // namespace arkit
