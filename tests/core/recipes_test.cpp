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
