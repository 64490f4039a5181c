#include "quant/recipes.h"

#include <gtest/gtest.h>

#include <arkit/error.h>

namespace arkit {
namespace {

TEST(Recipes, HaveAutoRoundsNumbers) {
  const ResolvedTuning best = resolve_tuning("best", {});
  EXPECT_EQ(best.iters, 1000);
  EXPECT_EQ(best.nsamples, 512);
  const ResolvedTuning light = resolve_tuning("light", {});
  EXPECT_EQ(light.iters, 50);
  EXPECT_DOUBLE_EQ(light.lr, 5e-3);
  EXPECT_EQ(resolve_tuning("rtn", {}).disable_opt_rtn, true);
  EXPECT_EQ(resolve_tuning("opt_rtn", {}).disable_opt_rtn, false);
  EXPECT_EQ(resolve_tuning("default", {}).disable_opt_rtn, std::nullopt);
}

TEST(Recipes, UserValuesWinAndBatchNeverExceedsSamples) {
  TuningOptions options;
  options.iters = 7;
  options.nsamples = 4;
  const ResolvedTuning tuning = resolve_tuning("light", options);
  EXPECT_EQ(tuning.iters, 7);
  EXPECT_EQ(tuning.batch_size, 4);
}

// What was measured best for two and three bits (docs/adr/0036) belongs to the recipe `best` alone, and yields to the
// user.
TEST(Recipes, BestTunesFewBitsInItsOwnWay) {
  const TensorQuant two{.data_type = "int", .bits = 2}, three{.data_type = "int", .bits = 3},
      four{.data_type = "int", .bits = 4}, mx{.data_type = "mx_fp", .bits = 3};
  const auto decided = [](std::string_view recipe, const TensorQuant& weight, const TuningOptions& given = {}) {
    ResolvedTuning tuning = resolve_tuning(recipe, given);
    decide_for_bits(tuning, recipe, weight);
    return tuning;
  };
  for (const TensorQuant& weight : {two, three}) {
    const ResolvedTuning tuning = decided("best", weight);
    EXPECT_TRUE(tuning.enable_alg_ext && tuning.not_use_best_mse) << weight.bits;
    EXPECT_EQ(tuning.nblocks, 2) << weight.bits;
    EXPECT_FALSE(decided("default", weight).enable_alg_ext || decided("default", weight).not_use_best_mse);
    EXPECT_EQ(decided("default", weight).nblocks, 1);
  }
  for (const TensorQuant& weight : {four, mx}) {
    const ResolvedTuning tuning = decided("best", weight);
    EXPECT_FALSE(tuning.enable_alg_ext || tuning.not_use_best_mse) << weight.data_type;
    EXPECT_EQ(tuning.nblocks, 1) << weight.data_type;
  }
  const ResolvedTuning own = decided("best", two, {.nblocks = 1, .not_use_best_mse = false, .enable_alg_ext = false});
  EXPECT_EQ(own.nblocks, 1);
  ResolvedTuning transformed = resolve_tuning("best", {});
  decide_for_bits(transformed, "best", two, true);
  EXPECT_EQ(transformed.nblocks, 1) << "transforms take one block at a time";
  EXPECT_FALSE(own.enable_alg_ext || own.not_use_best_mse);
  EXPECT_FALSE(decided("best", two, {.dynamic_max_gap = 5}).not_use_best_mse) << "it looks for the best";
  EXPECT_FALSE(decided("best", two, {.enable_neuqi = true}).enable_alg_ext) << "it freezes the scales";
}

// `rtn` has one sample because it needs none; what transforms choose by is not one sample.
TEST(Recipes, TransformsHaveTheUsualSamples) {
  EXPECT_EQ(resolve_tuning("rtn", {}).nsamples, 1);
  EXPECT_EQ(resolve_tuning("rtn", {}, true).nsamples, 128);
  EXPECT_EQ(resolve_tuning("rtn", {}, true).batch_size, 8);
  EXPECT_EQ(resolve_tuning("best", {}, true).nsamples, 512);
  EXPECT_EQ(resolve_tuning("rtn", {.nsamples = 4}, true).nsamples, 4);
}

TEST(Recipes, BadValuesAreUsageErrors) {
  TuningOptions options;
  options.nsamples = 0;
  EXPECT_THROW((void)resolve_tuning("default", options), Error);
  try {
    (void)resolve_tuning("ligh", {});
    FAIL() << "an unknown recipe was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
    EXPECT_NE(std::string(error.what()).find("did you mean 'light'"), std::string::npos);
  }
}

}  // namespace
}  // namespace arkit
