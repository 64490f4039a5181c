// Scores on a tiny llama of random weights, where rounding errors are small enough for the second order to be the
// truth.
#include "autoscheme/score.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/error.h>
#include <arkit/sdk/layer_rules.h>

#include "autoscheme/score_experts.h"
#include "score_testing.h"

namespace arkit::auto_scheme {
namespace {

using testing::option;
using testing::ScoredModel;

TEST(Score, OptionsDoNotInfluenceEachOther) {
  ScoredModel all("llama", {option("W4A16"), option("W8A16"), option("MXFP4"), option("MXFP8")});
  const ScoreTable together = all.score();
  for (size_t i = 0; i < all.options.size(); ++i) {
    ScoredModel alone("llama", {all.options[i]});
    const ScoreTable table = alone.score();
    for (size_t layer = 0; layer < table.layers.size(); ++layer)
      EXPECT_EQ(table.loss[layer][0], together.loss[layer][i]) << table.layers[layer] << " " << all.options[i].name;
  }
}

TEST(Score, EqualSeedsGiveEqualScores) {
  ScoredModel model("qwen3", {option("W4A16"), option("MXFP4")});
  EXPECT_EQ(model.score().loss, model.score().loss);
}

TEST(Score, FewerBitsLoseMore) {
  ScoredModel model("llama", {option("W2A16"), option("W4A16"), option("W8A16"), option("BF16")});
  const ScoreTable table = model.score();
  ASSERT_EQ(table.layers.size(), 14u);
  for (const std::vector<double>& loss : table.loss) {
    EXPECT_GT(loss[0], loss[1]);
    EXPECT_GT(loss[1], loss[2]);
    EXPECT_GT(loss[2], 0.0);
    EXPECT_EQ(loss[3], 0.0);
  }
}

TEST(Score, ActivationErrorsCount) {
  SchemeOption weights_only = option("MXFP4");
  weights_only.quant.act = LayerQuant{}.act;
  ScoredModel model("llama", {option("MXFP4"), weights_only});
  const ScoreTable table = model.score();
  for (const std::vector<double>& loss : table.loss) EXPECT_GT(loss[0], 1.2 * loss[1]);
}

TEST(Score, StaticActivationsAreScored) {
  ScoredModel model("llama", {option("FP8_STATIC"), option("NVFP4")});
  for (const std::vector<double>& loss : model.score().loss) {
    EXPECT_GT(loss[0], 0.0);
    EXPECT_GT(loss[1], loss[0]);
  }
}

// The divergence that is predicted for a layer is the one it has: the mean over layers within a quarter.
TEST(Score, PredictsTheDivergenceOfSingleLayers) {
  ScoredModel model("llama", {option("W4A16"), option("MXFP4")});
  const ScoreTable table = model.score();
  KlMeter meter = model.meter();
  for (size_t o = 0; o < model.options.size(); ++o) {
    double predicted = 0.0, measured = 0.0;
    for (size_t layer = 0; layer < model.pool.size(); ++layer) {
      Choice choice(model.pool.size(), kLeftAlone);
      choice[layer] = o;
      predicted += table.loss[layer][o];
      measured += meter.measure(choice, false);
    }
    EXPECT_NEAR(predicted / measured, 1.0, 0.25) << model.options[o].name;
  }
}

TEST(Score, TheHeadIsScoredWhenItIsInThePool) {
  ScoredModel model("llama", {option("W4A16")}, true);
  const ScoreTable table = model.score();
  EXPECT_EQ(table.layers.back(), "lm_head");
  EXPECT_GT(table.loss.back()[0], 0.0);
  ScoredModel without("llama", {option("W4A16")});
  EXPECT_EQ(without.score().loss.front(), table.loss.front());
}

TEST(Score, LayersThatAnOptionLeavesAloneLoseNothing) {
  ScoredModel model("llama", {option("W4A16")});
  model.pool[3].quants[0] = LayerQuant{};
  const ScoreTable table = model.score();
  EXPECT_EQ(table.loss[3][0], 0.0);
  EXPECT_GT(table.loss[4][0], 0.0);
}

TEST(Score, UnknownModesAreRefused) {
  EXPECT_EQ(parse_score_mode("default"), ScoreMode::standard);
  EXPECT_EQ(parse_score_mode("compat"), ScoreMode::compat);
  EXPECT_THROW(static_cast<void>(parse_score_mode("best")), Error);
}

TEST(Score, InactiveExpertsTakeTheMeanOfTheOthers) {
  const auto layer = [](const char* name) {
    PoolLayer made{{.name = name, .block = 0}, {option("W4A16").quant, LayerQuant{}}};
    model_free::guess_layer(made.plan);
    return made;
  };
  const std::vector<PoolLayer> pool = {layer("layers.0.q_proj"),         layer("layers.0.experts.0.up"),
                                       layer("layers.0.experts.0.down"), layer("layers.0.experts.1.up"),
                                       layer("layers.0.experts.1.down"), layer("layers.0.experts.10.up"),
                                       layer("layers.0.experts.10.down")};
  ScoreTable table{.options = {"W4A16", "BF16"}, .layers = {}, .loss = {}};
  const std::vector<double> losses = {5.0, 1.0, 3.0, 0.0, 0.0, 4.0, 0.0};
  for (size_t i = 0; i < pool.size(); ++i) {
    table.layers.push_back(pool[i].plan.name);
    table.loss.push_back({losses[i], 0.0});
  }
  fill_inactive_experts(pool, table);
  // Expert 0: 2 on average; expert 10: 4 over the one layer that has a score; expert 1 gets 3.
  const std::vector<double> wanted = {5.0, 1.0, 3.0, 3.0, 3.0, 4.0, 0.0};
  for (size_t i = 0; i < pool.size(); ++i) {
    EXPECT_EQ(table.loss[i][0], wanted[i]) << pool[i].plan.name;
    EXPECT_EQ(table.loss[i][1], 0.0);
  }
}

}  // namespace
}  // namespace arkit::auto_scheme
