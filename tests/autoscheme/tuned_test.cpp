// Losses of layers that will be tuned: what is close, what ratios make of losses, and ratios of a tiny model.
#include <fstream>
#include <iterator>

#include <gtest/gtest.h>

#include <arkit/part_file.h>

#include "autoscheme/allocation.h"
#include "autoscheme/tuned_ratio.h"
#include "autoscheme/tuned_scores.h"
#include "jobs/job_testing.h"
#include "score_testing.h"

namespace arkit::auto_scheme {
namespace {

using arkit::testing::Recorder;
using arkit::testing::TemporaryFolder;
using testing::option;
using testing::ScoredModel;

// Groups of one layer with options of 2 and 4 bits; the losses of "high" are 0.1.
struct MadeUp {
  std::vector<ChoiceGroup> groups;
  std::vector<PoolLayer> pool;
  ScoreTable table{.options = {"low", "high"}, .layers = {}, .loss = {}};
  explicit MadeUp(const std::vector<double>& low) {
    const SchemeOption w2 = option("W2A16"), w4 = option("W4A16");
    for (size_t i = 0; i < low.size(); ++i) {
      const std::string name(1, static_cast<char>('a' + i));
      table.layers.push_back(name);
      table.loss.push_back({low[i], 0.1});
      groups.push_back({.layers = {i}, .bits = {2, 4}, .choice = 0});
      pool.push_back({.plan = {}, .quants = {w2.quant, w4.quant}});
      pool.back().plan.name = name;
      pool.back().plan.block = 0;
    }
  }
  double price(int64_t budget) const { return marginal_price(program_groups(groups, table), budget); }
};

TEST(MarginalPrice, IsTheSlopeAtTheBudget) {
  const MadeUp made({1.1, 0.9, 0.5});
  EXPECT_DOUBLE_EQ(made.price(6), 0.5);  // nothing bought yet: the best exchange
  EXPECT_DOUBLE_EQ(made.price(7), 0.5);  // half an exchange
  EXPECT_DOUBLE_EQ(made.price(8), 0.4);
  EXPECT_DOUBLE_EQ(made.price(11), 0.2);
  EXPECT_DOUBLE_EQ(made.price(12), 0.0);  // all bought
}

TEST(CloseOptions, AreThoseThatAPlausibleChangeOfLossTurnsAround) {
  MadeUp made({4.1, 1.7, 1.1, 0.9, 0.2, 1.0});
  made.groups[5].bits[1] = kNotOffered;
  ASSERT_TRUE(allocate(made.groups, made.table, 18).feasible);  // a, b and c get 4 bits
  const double price = made.price(chosen_bits(made.groups));
  EXPECT_NEAR(price, 0.4, 1e-12);  // of d, the next
  const std::set<GroupOption> close = close_options(made.groups, made.table, price);
  // Exchange ratios 2, 0.8, 0.5, 0.4, 0.05: c and d are within 1.5 of 0.4. The last has no second option.
  EXPECT_EQ(close, (std::set<GroupOption>{{2, 0}, {2, 1}, {3, 0}, {3, 1}}));
  EXPECT_TRUE(close_options(made.groups, made.table, 0.0).empty());
  made.table.loss[3][1] = 0.95;  // larger and worse
  EXPECT_FALSE(close_options(made.groups, made.table, price).contains({3, 1}));
}

TEST(CloseOptions, TypicalOnesAreAddedUpToFive) {
  MadeUp made(std::vector<double>(12, 1.0));
  std::set<GroupOption> wanted{{0, 0}, {3, 0}, {4, 0}, {5, 0}, {6, 0}, {7, 0}, {1, 1}};
  const std::set<GroupOption> before = wanted;
  add_typical(wanted, made.groups, made.pool);
  EXPECT_TRUE(std::includes(wanted.begin(), wanted.end(), before.begin(), before.end()));
  const auto of = [&](size_t o) {
    return std::count_if(wanted.begin(), wanted.end(), [o](const GroupOption& entry) { return entry.option == o; });
  };
  EXPECT_EQ(of(0), 6);
  EXPECT_EQ(of(1), 5);
}

TEST(TunedMembers, AreEightOfManyAndNeverTheHead) {
  MadeUp made(std::vector<double>(20, 1.0));
  ChoiceGroup all{.layers = {}, .bits = {2, 4}};
  for (size_t i = 0; i < 20; ++i) all.layers.push_back(i);
  EXPECT_EQ(tuned_members(all, 1, made.pool).size(), 8U);
  all.layers = {0, 1, 2};
  made.pool[1].plan.block = -1;
  made.pool[2].quants[1] = LayerQuant{};  // left alone
  ASSERT_EQ(tuned_members(all, 1, made.pool).size(), 1U);
  EXPECT_EQ(tuned_members(all, 0, made.pool).size(), 2U);
}

TEST(ApplyRatios, OthersTakeTheMedianOfTheirOption) {
  const MadeUp made({1.0, 2.0, 3.0, 4.0});
  const std::set<GroupOption> wanted{{0, 0}, {1, 0}, {2, 0}};
  const TunedRatios ratios{{{0, 0}, 0.3}, {{1, 0}, 0.5}, {{2, 0}, 0.9}, {{3, 0}, 0.01}};
  const TunedScores tuned = apply_ratios(made.table, made.groups, made.pool, wanted, ratios);
  EXPECT_DOUBLE_EQ(tuned.typical[0], 0.5);  // the fourth ratio was not asked for
  EXPECT_DOUBLE_EQ(tuned.typical[1], 1.0);
  const std::vector<double> expected = {0.3, 1.0, 2.7, 2.0};
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_DOUBLE_EQ(tuned.table.loss[i][0], expected[i]);
    EXPECT_DOUBLE_EQ(tuned.table.loss[i][1], 0.1);
  }
}

TEST(ApplyRatios, AGroupTakesTheMeanOfItsMembersWeightedWithTheirLosses) {
  MadeUp made({1.0, 3.0, 2.0});
  made.groups = {{.layers = {0, 1, 2}, .bits = {6, 12}}};
  const TunedRatios ratios{{{0, 0}, 0.2}, {{1, 0}, 0.6}, {{2, 0}, std::nullopt}};
  const TunedScores tuned = apply_ratios(made.table, made.groups, made.pool, {{0, 0}}, ratios);
  EXPECT_DOUBLE_EQ(tuned.typical[0], 0.5);
  for (size_t i = 0; i < 3; ++i) EXPECT_DOUBLE_EQ(tuned.table.loss[i][0], 0.5 * made.table.loss[i][0]);
}

TEST(ApplyRatios, ChangesAMix) {
  MadeUp made({1.1, 1.0, 0.2});
  const auto solved = [&](const ScoreTable& table) {
    EXPECT_TRUE(allocate(made.groups, table, 8).feasible);  // one group gets 4 bits
    return layer_choices(made.groups, 3);
  };
  EXPECT_EQ(solved(made.table), (std::vector<size_t>{1, 0, 0}));
  const std::set<GroupOption> close = close_options(made.groups, made.table, made.price(8));
  EXPECT_TRUE(close.contains({0, 0}) && close.contains({1, 0}) && !close.contains({2, 0}));
  // Tuning helps the first layer more than the second.
  const TunedRatios ratios{{{0, 0}, 0.4}, {{1, 0}, 0.6}, {{0, 1}, 0.8}, {{1, 1}, 0.8}};
  EXPECT_EQ(solved(apply_ratios(made.table, made.groups, made.pool, close, ratios).table),
            (std::vector<size_t>{0, 1, 0}));
}

struct TunedModel {
  ScoredModel model{"llama", {option("W2A16"), option("W4A16"), option("MXFP4"), option("W8A16")}};
  RatioSettings settings = RatioSettings::of_run({}, 42);
  // Five tokens over and over: inputs of few directions, the errors in which tuning can move elsewhere.
  TunedModel() {
    for (int64_t i = 0; i < model.ids.numel(); ++i) model.ids.mutable_data_ptr<int64_t>()[i] = i % 5;
  }
  TunedRatios ratios(const std::vector<LayerOption>& wanted) {
    return tuned_ratios(*model.model, model.ids, model.pool, wanted, settings, model.scheme_for, model.reporter);
  }
};

TEST(TunedRatios, AreMeasuredForWhatIsWantedAlone) {
  TunedModel tuned;
  const std::vector<LayerOption> wanted = {{0, 0}, {0, 1}, {1, 0}, {5, 2}, {6, 0}, {12, 3}};
  const TunedRatios ratios = tuned.ratios(wanted);
  ASSERT_EQ(ratios.size(), wanted.size());
  for (const LayerOption& entry : wanted) {
    ASSERT_TRUE(ratios.at(entry).has_value());
    EXPECT_GT(*ratios.at(entry), 0.001);
    EXPECT_LT(*ratios.at(entry), 1.1) << entry.layer << " " << entry.option;
  }
  EXPECT_LT(*ratios.at({0, 0}), 0.8) << "two bits gain from tuning";
  // Neither the run nor what else is wanted changes a ratio.
  const TunedRatios again = tuned.ratios({{5, 2}, {0, 0}});
  ASSERT_EQ(again.size(), 2U);
  EXPECT_EQ(again.at({0, 0}), ratios.at({0, 0}));
  EXPECT_EQ(again.at({5, 2}), ratios.at({5, 2}));
}

TEST(TunedRatios, WithoutIterationsAreOne) {
  TunedModel tuned;
  tuned.settings.tune.iters = 0;
  EXPECT_NEAR(tuned.ratios({{3, 1}}).at({3, 1}).value(), 1.0, 1e-3);
}

TEST(TunedRatios, LayersWithFewTokensHaveNone) {
  TunedModel tuned;
  tuned.model.ids = tuned.model.ids.narrow(0, 0, 1);
  const TunedRatios ratios = tuned.ratios({{0, 0}});
  ASSERT_EQ(ratios.size(), 1U);
  EXPECT_FALSE(ratios.at({0, 0}).has_value());
}

TEST(RatioSettings, AreAShortRun) {
  const RatioSettings settings = RatioSettings::of_run({.iters = 200, .lr = 0.001, .enable_norm_bias_tuning = true}, 1);
  EXPECT_EQ(settings.tune.iters, 20);
  EXPECT_FALSE(settings.tune.lr.has_value());
  EXPECT_FALSE(settings.tune.enable_norm_bias_tuning);
  EXPECT_EQ(RatioSettings::of_run({.iters = 5}, 1).tune.iters, 5);
}

TEST(RatioCache, GivesBackWhatWasStoredForTheSameScoresAndSettings) {
  const MadeUp made({1.0, 2.0});
  const TemporaryFolder folder;
  Recorder recorder;
  const RatioSettings settings = RatioSettings::of_run({}, 42);
  const std::string key(64, 'a');
  const RatioCache cache(folder.path(), key, settings, made.pool, 2);
  EXPECT_TRUE(cache.load(recorder).empty());
  const TunedRatios ratios{{{0, 1}, 0.123456789012345}, {{1, 0}, 0.5}, {{1, 1}, std::nullopt}};
  cache.store(ratios, recorder);
  EXPECT_EQ(cache.load(recorder), ratios);
  EXPECT_TRUE(RatioCache(folder.path(), std::string(64, 'b'), settings, made.pool, 2).load(recorder).empty());
  RatioSettings others = settings;
  others.tune.iters = 10;
  EXPECT_TRUE(RatioCache(folder.path(), key, others, made.pool, 2).load(recorder).empty());
  EXPECT_TRUE(recorder.warnings.empty());

  std::ifstream in(cache.file());
  std::string text{std::istreambuf_iterator<char>(in), {}};
  for (const char* bad : {"-0.5", "\"0.5\"", "true", "0.5, 1"}) {
    std::string damaged = text;
    damaged.replace(damaged.find("0.5"), 3, bad);
    write_file(cache.file(), damaged);
    const size_t warned = recorder.warnings.size();
    EXPECT_TRUE(cache.load(recorder).empty()) << bad;
    EXPECT_EQ(recorder.warnings.size(), warned + 1);
  }
}

}  // namespace
}  // namespace arkit::auto_scheme
