// Exchanges after the program: on losses that are made up, and on a tiny model.
#include "autoscheme/refine.h"

#include <gtest/gtest.h>

#include "score_testing.h"

namespace arkit::auto_scheme {
namespace {

using testing::option;
using testing::ScoredModel;

// Four groups of one layer, options of 2 and 4 bits; the program's losses say that groups 0 and 1 need the bits.
struct MadeUp {
  std::vector<ChoiceGroup> groups;
  ScoreTable table{.options = {"low", "high"}, .layers = {"a", "b", "c", "d"}, .loss = {}};
  MadeUp() {
    const std::vector<double> low = {1.2, 1.1, 1.0, 0.9};
    for (size_t i = 0; i < low.size(); ++i) {
      table.loss.push_back({low[i], 0.1});
      groups.push_back({.layers = {i}, .bits = {2, 4}, .choice = i < 2 ? size_t{1} : size_t{0}});
    }
  }
};

TEST(Refine, FindsTheBetterHalf) {
  MadeUp made;
  const std::vector<double> truth = {0.8, 1.3, 1.4, 0.7};  // of the low option: 1 and 2 need the bits
  const Measure measure = [&](const std::vector<size_t>& choice, bool) {
    double sum = 0.0;
    for (size_t i = 0; i < choice.size(); ++i) sum += choice[i] == 0 ? truth[i] : 0.1;
    return sum;
  };
  Reporter quiet;
  const Refined result = refine(made.groups, made.table, 12, measure, 60.0, quiet);
  EXPECT_TRUE(result.finished);
  EXPECT_GE(result.accepted, 1);
  EXPECT_DOUBLE_EQ(result.before, 0.1 + 0.1 + 1.4 + 0.7);
  EXPECT_DOUBLE_EQ(result.after, 0.8 + 0.1 + 0.1 + 0.7);
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(made.groups[i].choice, i == 1 || i == 2 ? 1U : 0U) << i;
}

TEST(Refine, UsesBitsThatAreLeftOver) {
  MadeUp made;
  made.groups[0].choice = 0;
  const Measure measure = [&](const std::vector<size_t>& choice, bool) {
    double sum = 0.0;
    for (size_t i = 0; i < choice.size(); ++i) sum += made.table.loss[i][choice[i]];
    return sum;
  };
  Reporter quiet;
  refine(made.groups, made.table, 12, measure, 60.0, quiet);
  EXPECT_EQ(made.groups[0].choice + made.groups[1].choice, 2U);
}

TEST(Refine, KeepsWhatNoExchangeImproves) {
  MadeUp made;
  int64_t kept = 0;
  const Measure measure = [&](const std::vector<size_t>&, bool keep) {
    kept += keep ? 1 : 0;
    return 1.0;
  };
  Reporter quiet;
  const Refined result = refine(made.groups, made.table, 12, measure, 60.0, quiet);
  EXPECT_EQ(result.accepted, 0);
  EXPECT_EQ(result.tried, 4);  // each of two groups up, each of two down
  EXPECT_EQ(kept, 1);
  EXPECT_EQ(made.groups[0].choice, 1U);
  EXPECT_EQ(made.groups[2].choice, 0U);
}

TEST(Refine, NeverTakesAnOptionThatIsNotOffered) {
  MadeUp made;
  made.groups[2].bits[1] = kNotOffered;
  const Measure measure = [&](const std::vector<size_t>& choice, bool) { return choice[2] == 1 ? 0.0 : 1.0; };
  Reporter quiet;
  EXPECT_EQ(refine(made.groups, made.table, int64_t{1} << 60, measure, 60.0, quiet).after, 1.0);
}

TEST(Refine, WithoutTimeNothingChanges) {
  MadeUp made;
  const Measure measure = [](const std::vector<size_t>&, bool) { return 1.0; };
  Reporter quiet;
  const Refined result = refine(made.groups, made.table, 12, measure, 0.0, quiet);
  EXPECT_FALSE(result.finished);
  EXPECT_EQ(result.tried, 0);
}

TEST(Refine, NeverRaisesTheDivergenceOfAModel) {
  ScoredModel model("llama", {option("W2A16"), option("W4A16")});
  const ScoreTable table = model.score();
  const auto start = [&] {
    std::vector<ChoiceGroup> groups;
    for (size_t i = 0; i < model.pool.size(); ++i) {
      const int64_t weights = model.pool[i].plan.out_features * model.pool[i].plan.in_features;
      groups.push_back({.layers = {i}, .bits = {2 * weights, 4 * weights}, .choice = i % 2});
    }
    return groups;
  };
  int64_t budget = 0;
  for (const ChoiceGroup& group : start()) budget += group.bits[group.choice];
  const auto refined = [&](std::vector<ChoiceGroup>& groups) {
    KlMeter meter = model.meter();
    return refine(
        groups, table, budget, [&](const Choice& c, bool keep) { return meter.measure(c, keep); }, 60.0,
        model.reporter);
  };
  std::vector<ChoiceGroup> once = start(), again = start();
  const Refined result = refined(once);
  EXPECT_LT(result.after, result.before);
  int64_t used = 0;
  for (const ChoiceGroup& group : once) used += group.bits[group.choice];
  EXPECT_LE(used, budget);
  EXPECT_EQ(refined(again).after, result.after);
  for (size_t i = 0; i < once.size(); ++i) EXPECT_EQ(once[i].choice, again[i].choice);
}

TEST(KlMeter, MeasuresFromTheFirstBlockThatDiffersAsFromTheStart) {
  ScoredModel model("qwen3", {option("W4A16"), option("MXFP4")}, true);
  KlMeter meter = model.meter();
  Choice choice(model.pool.size(), 0);
  EXPECT_EQ(meter.measure(Choice(model.pool.size(), kLeftAlone), false), 0.0);
  static_cast<void>(meter.measure(choice, true));
  choice[9] = 1;  // in the last block
  choice.back() = 1;
  const double near = meter.measure(choice, false);
  EXPECT_EQ(meter.measure(choice, true), near);
  KlMeter fresh = model.meter();
  EXPECT_EQ(fresh.measure(choice, false), near);
  EXPECT_GT(near, 0.0);
}

}  // namespace
}  // namespace arkit::auto_scheme
