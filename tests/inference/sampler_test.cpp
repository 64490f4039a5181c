#include "inference/sampler.h"

#include <array>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

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

TEST(Sampler, MinPKeepsAShareOfTheLikeliest) {
  const auto got = shares({.temperature = 1.0, .min_p = 0.3});  // 0.5 and 0.25; 0.125 is a quarter of the largest
  EXPECT_EQ(got[0] + got[3], 0.0);
  EXPECT_NEAR(got[1], 0.5 / 0.75, kSpread);
  EXPECT_NEAR(shares({.temperature = 1.0, .min_p = 0.2})[0], 0.125, kSpread);
  EXPECT_GT(shares({.temperature = 2.0, .min_p = 0.3})[0], 0.1) << "probabilities are those of the temperature";
  EXPECT_NEAR(shares({.temperature = 1.0, .min_p = 1.0})[1], 1.0, 1e-9) << "the likeliest one stays";
  const auto both = shares({.temperature = 1.0, .top_k = 3, .min_p = 0.2});
  EXPECT_EQ(both[3], 0.0);
  EXPECT_NEAR(both[1], 0.5 / 0.875, kSpread);
}

// Greedy picks after hand-made adjustments: of two logits, which is larger now?
int64_t best(const SamplingOptions& options, std::array<float, 2> logits, const std::vector<int64_t>& prompt,
             const std::vector<int64_t>& output = {}) {
  TokenHistory history(prompt);
  for (const int64_t token : output) history.add(token);
  return Sampler(options).pick(logits, history);
}

TEST(Sampler, BiasIsAddedToItsToken) {
  EXPECT_EQ(best({.logit_bias = {{0, 1.5}}}, {1.0F, 2.0F}, {}), 0);
  EXPECT_EQ(best({.logit_bias = {{0, 0.5}}}, {1.0F, 2.0F}, {}), 1);
  EXPECT_EQ(best({.logit_bias = {{1, -100.0}}}, {1.0F, 90.0F}, {}), 0);
}

TEST(Sampler, RepetitionDividesOnceWhatPromptOrOutputHas) {
  const SamplingOptions tenth{.repetition_penalty = 1.1};
  EXPECT_EQ(best(tenth, {2.0F, 1.9F}, {0}), 1);      // 1.818
  EXPECT_EQ(best(tenth, {2.0F, 1.9F}, {}, {0}), 1);  // of the output, too
  EXPECT_EQ(best(tenth, {2.0F, 1.8F}, {0}), 0);
  EXPECT_EQ(best(tenth, {-1.0F, -1.05F}, {0}), 1);                              // -1.1: negative ones are multiplied
  EXPECT_EQ(best({.repetition_penalty = 1.04}, {2.0F, 1.9F}, {0, 0}, {0}), 0);  // 1.923, not 1.778
}

TEST(Sampler, FrequencyCountsTheOutputAndPresenceDoesNot) {
  EXPECT_EQ(best({.frequency_penalty = 0.6}, {2.0F, 1.0F}, {}, {0, 0}), 1);  // 0.8
  EXPECT_EQ(best({.frequency_penalty = 0.6}, {2.0F, 1.0F}, {}, {0}), 0);     // 1.4
  EXPECT_EQ(best({.frequency_penalty = 2.0}, {2.0F, 1.0F}, {0, 0, 0}), 0) << "the prompt is not counted";
  EXPECT_EQ(best({.presence_penalty = 0.9}, {2.0F, 1.2F}, {}, {0, 0}), 1);  // 1.1
  EXPECT_EQ(best({.presence_penalty = 0.5}, {2.0F, 1.2F}, {}, {0, 0}), 0);  // 1.5, not 1.0
  EXPECT_EQ(best({.presence_penalty = 2.0}, {2.0F, 1.2F}, {0}), 0);
  EXPECT_EQ(best({.presence_penalty = -1.0}, {1.0F, 1.5F}, {}, {0}), 0);  // asks for more of the same
}

TEST(Sampler, BiasComesFirstAndThenRepetition) {
  EXPECT_EQ(best({.logit_bias = {{0, 1.0}}, .repetition_penalty = 2.0}, {1.0F, 1.2F}, {0}), 1);      // (1 + 1) / 2
  EXPECT_EQ(best({.repetition_penalty = 2.0, .frequency_penalty = 1.0}, {4.0F, 1.2F}, {}, {0}), 1);  // 4 / 2 - 1
}

TEST(Sampler, OptionsOutsideTheirRangeAreRefusedByName) {
  for (const auto& [bad, name] :
       std::vector<std::pair<SamplingOptions, std::string>>{{{.temperature = -0.1}, "temperature"},
                                                            {{.temperature = NAN}, "temperature"},
                                                            {{.top_p = 0.0}, "top_p"},
                                                            {{.top_p = 1.1}, "top_p"},
                                                            {{.top_k = -1}, "top_k"},
                                                            {{.min_p = -0.1}, "min_p"},
                                                            {{.min_p = 1.1}, "min_p"},
                                                            {{.min_p = NAN}, "min_p"},
                                                            {{.repetition_penalty = 0.0}, "repetition_penalty"},
                                                            {{.repetition_penalty = INFINITY}, "repetition_penalty"},
                                                            {{.frequency_penalty = 2.1}, "frequency_penalty"},
                                                            {{.presence_penalty = -2.1}, "presence_penalty"},
                                                            {{.logit_bias = {{7, 101.0}}}, "logit_bias of token 7"}})
    try {
      check_sampling(bad);
      ADD_FAILURE() << name;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::usage);
      EXPECT_TRUE(std::string(error.what()).starts_with(name)) << error.what();
    }
  EXPECT_NO_THROW(check_sampling({}));
}

}  // namespace
}  // namespace arkit
