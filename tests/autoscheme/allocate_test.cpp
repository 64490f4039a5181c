// The program against trying everything, on random groups; its speed; budgets that cannot be met.
#include "autoscheme/allocation.h"
#include "autoscheme/program.h"

#include <chrono>
#include <cstdio>
#include <random>

#include "jobs/job_testing.h"

namespace arkit::auto_scheme {
namespace {

using arkit::testing::contains;
using arkit::testing::refusal;

struct Best {
  bool found = false;
  double loss = 0.0;
  int64_t cost = 0;
};

// Every combination of options, losses added in the order of the groups.
void try_all(const std::vector<ProgramGroup>& groups, int64_t budget, size_t at, double loss, int64_t cost,
             Best& best) {
  if (cost > budget) return;
  if (at == groups.size()) {
    if (!best.found || loss < best.loss || (loss == best.loss && cost < best.cost)) best = {true, loss, cost};
    return;
  }
  for (size_t o = 0; o < groups[at].cost.size(); ++o)
    if (groups[at].cost[o] < kNotOffered)
      try_all(groups, budget, at + 1, loss + groups[at].loss[o], cost + groups[at].cost[o], best);
}

ProgramGroup random_group(std::mt19937& random, size_t options, bool integers) {
  std::uniform_int_distribution<int64_t> size(1, 40);
  std::uniform_real_distribution<double> real(0.0, 10.0);
  std::uniform_int_distribution<int> small(0, 4), rare(0, 9);
  ProgramGroup group;
  for (size_t o = 0; o < options; ++o) {
    group.cost.push_back(o > 0 && rare(random) == 0 ? kNotOffered : 6 * size(random));
    group.loss.push_back(integers ? small(random) : real(random));
  }
  return group;
}

TEST(Program, EqualsTryingEverything) {
  std::mt19937 random(7);
  int feasible = 0, infeasible = 0;
  for (int round = 0; round < 400; ++round) {
    std::vector<ProgramGroup> groups;
    for (int g = 0; g < 1 + round % 7; ++g) groups.push_back(random_group(random, 1 + round % 4, round % 2 == 0));
    const CostRange range = cost_range(groups);
    std::uniform_int_distribution<int64_t> budgets(range.least - 3, range.most + 3);
    const int64_t budget = budgets(random);
    Best best;
    try_all(groups, budget, 0, 0.0, 0, best);
    const auto result = solve(groups, budget);
    ASSERT_EQ(result.has_value(), best.found) << "round " << round;
    if (!result) {
      ++infeasible;
      continue;
    }
    ++feasible;
    EXPECT_DOUBLE_EQ(result->loss, best.loss) << "round " << round;
    EXPECT_TRUE(result->optimal);
    EXPECT_LE(result->cost, budget);
    double loss = 0.0;
    int64_t cost = 0;
    for (size_t g = 0; g < groups.size(); ++g) {
      loss += groups[g].loss[result->choice[g]];
      cost += groups[g].cost[result->choice[g]];
    }
    EXPECT_DOUBLE_EQ(result->loss, loss) << "the choice is the one the result speaks of";
    EXPECT_EQ(result->cost, cost);
    if (round % 2 == 0) EXPECT_EQ(result->cost, best.cost) << "whole losses have ties: the cheaper one wins";
  }
  EXPECT_GT(feasible, 200);
  EXPECT_GT(infeasible, 5);
}

TEST(Program, TiesTakeFewerBitsAndEarlierOptions) {
  const std::vector<ProgramGroup> groups{{{10, 20, 10}, {1.0, 1.0, 1.0}}, {{8, 4}, {0.0, 0.0}}};
  const auto result = solve(groups, 100);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->choice, (std::vector<size_t>{0, 1}));
  EXPECT_EQ(result->cost, 14);
  EXPECT_EQ(solve(groups, 100)->choice, result->choice);
}

// Layers like a large model's: few shapes, options of 2 to 16 bits, losses falling about four times a bit.
std::vector<ProgramGroup> large_problem(std::mt19937& random, size_t layers) {
  std::lognormal_distribution<double> weight(0.0, 1.5);
  std::uniform_real_distribution<double> noise(0.7, 1.4);
  const int64_t shapes[] = {4096 * 4096, 4096 * 1024, 4096 * 14336, 4096 * 11008, 2048 * 4096};
  const double bits[] = {2.28125, 3.296875, 4.3125, 6.34375, 8.375, 16.0};
  std::vector<ProgramGroup> groups;
  for (size_t g = 0; g < layers; ++g) {
    ProgramGroup group;
    const double scale = weight(random);
    for (const double b : bits) {
      group.cost.push_back(static_cast<int64_t>(static_cast<double>(shapes[g % 5]) * b));
      group.loss.push_back(b == 16.0 ? 0.0 : scale * std::pow(0.3, b) * noise(random));
    }
    groups.push_back(group);
  }
  return groups;
}

TEST(Program, TwoHundredFiftySixLayersOfSixOptionsTakeLessThanHalfASecond) {
  std::mt19937 random(11);
  const std::vector<ProgramGroup> groups = large_problem(random, 256);
  const CostRange range = cost_range(groups);
  for (const double share : {0.1, 0.3, 0.5, 0.9}) {
    const auto budget = range.least + static_cast<int64_t>(share * static_cast<double>(range.most - range.least));
    const auto start = std::chrono::steady_clock::now();
    const auto result = solve(groups, budget);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    std::printf("256 layers, 6 options, %.0f %% of the range: %.4f s, loss %.6g, %s\n", share * 100, seconds,
                result->loss, result->optimal ? "optimal" : "thinned");
    EXPECT_LT(seconds, 2.0) << "0.5 s is promised; the rest is for a busy machine";
    EXPECT_TRUE(result->optimal);
    EXPECT_LE(result->cost, budget);
  }
}

TEST(Program, ManyUnrelatedSizesAreThinnedAndStayNearTheBound) {
  std::mt19937 random(5);
  std::uniform_int_distribution<int64_t> size(1'000'000, 900'000'000);
  std::uniform_real_distribution<double> real(0.0, 1.0);
  std::vector<ProgramGroup> groups;
  for (int g = 0; g < 120; ++g) {
    const int64_t n = size(random);
    const double loss = real(random);
    groups.push_back({{n, n + size(random), n + 2 * size(random)}, {loss, loss * real(random), loss * 0.1}});
  }
  const CostRange range = cost_range(groups);
  const int64_t budget = (range.least + range.most) / 2;
  const auto exact = solve(groups, budget);
  const auto thinned = solve(groups, budget, 64);
  ASSERT_TRUE(exact && thinned);
  EXPECT_LE(thinned->cost, budget);
  EXPECT_GE(thinned->loss, exact->loss * (1 - 1e-12));
  EXPECT_LE(thinned->loss, exact->loss * 1.02);
}

// Two layers of 1000 and 3000 weights with options of 2, 4 and 8 bits.
struct Small {
  Costs costs{.layers = {{2000, 4000, 8000}, {6000, 12000, 24000}}, .pinned = 16000, .weights = 5000};
  std::vector<ChoiceGroup> groups = make_groups({{0}, {1}}, costs);
  std::vector<SchemeOption> options{{"two", {}}, {"four", {}}, {"eight", {}}};
  ScoreTable table{{"two", "four", "eight"}, {"a", "b"}, {{9.0, 3.0, 1.0}, {8.0, 1.0, 0.5}}};
};

TEST(Allocation, BudgetsCountPinnedLayersAndNameTheRange) {
  Small small;
  const Reach range = reach(small.groups, small.costs, small.options);
  EXPECT_DOUBLE_EQ(range.least, 4.8);  // (8000 + 16000) / 5000
  EXPECT_DOUBLE_EQ(range.most, 9.6);
  const std::string text =
      refusal(ErrorCode::usage, [&] { (void)group_budget(3.0, small.groups, small.costs, range); });
  EXPECT_TRUE(contains(text, "avg_bits 3 cannot be reached: the options give 4.800 to 9.600 bits a weight")) << text;
  EXPECT_TRUE(contains(text, "two 4.800, four 6.400, eight 9.600")) << text;
  (void)refusal(ErrorCode::usage, [&] { (void)group_budget(9.7, small.groups, small.costs, range); });
  EXPECT_EQ(group_budget(4.7995, small.groups, small.costs, range), 8000) << "within a thousandth means the end";
  EXPECT_EQ(group_budget(6.0, small.groups, small.costs, range), 14000);
}

TEST(Allocation, TakesTheLeastLossThatFits) {
  Small small;
  const Solved solved = allocate(small.groups, small.table, 16000);
  ASSERT_TRUE(solved.feasible);
  EXPECT_EQ(layer_choices(small.groups, 2), (std::vector<size_t>{1, 1}));  // 4000 + 12000
  EXPECT_EQ(solved.bits, 16000);
  EXPECT_DOUBLE_EQ(solved.loss, 4.0);
  EXPECT_EQ(chosen_bits(small.groups), 16000);
  EXPECT_DOUBLE_EQ(chosen_loss(small.groups, small.table), 4.0);
  EXPECT_FALSE(allocate(small.groups, small.table, 7999).feasible);
}

}  // namespace
}  // namespace arkit::auto_scheme
