// Budgets to mixes: the program, the size of the export, refinement on the measured divergence.
#include <algorithm>

#include <arkit/error.h>
#include <arkit/str.h>

#include "autoscheme/refine.h"
#include "jobs/mix_search.h"

namespace arkit {
namespace {

using namespace auto_scheme;

constexpr int64_t kRecordBytes = 1792;  // AutoScheme's part of arkit-run.json
constexpr int kSizeRounds = 8;

}  // namespace

int64_t MixSearch::bytes_of(const std::vector<ChoiceGroup>& groups) {
  const Mix mix{.budget = {}, .choice = layer_choices(groups, pool_.layers.size()), .measured_kl = {}};
  // The command and the model's name stand in the card and in the record.
  const auto typed = static_cast<int64_t>(2 * options_.command_line.size() + 4 * options_.model.size() +
                                          2 * options_.layer_config.size() + 2 * options_.dataset.size());
  const int64_t bytes = sizer_->bound(plan_of(mix), kRecordBytes + ratio_bytes() + typed);
  // plan_of() left layers that stay in 16 bits unrotated; scores and refinement look at them with every option.
  if (planned_.run_time != nullptr) planned_.run_time->apply(planned_.plan);
  return bytes;
}

// What is not packed weights (tables, headers, texts) changes a little with the mix, so the program is asked again with
// what the last mix left of the target, until that is what it took.
bool MixSearch::solve_target(int64_t target, const ScoreTable& table, std::vector<ChoiceGroup>& groups) {
  bool optimal = true;
  choose_cheapest(groups);
  std::vector<ChoiceGroup> best = groups;  // fits: check_budgets has looked
  double best_loss = chosen_loss(best, table);
  for (int round = 0; round < kSizeRounds; ++round) {
    const int64_t others = bytes_of(groups) - chosen_bits(groups) / 8;
    const std::vector<ChoiceGroup> before = groups;
    const Solved solved = allocate(groups, table, (target - others) * 8);
    if (!solved.feasible) break;
    const bool settled = std::equal(groups.begin(), groups.end(), before.begin(),
                                    [](const ChoiceGroup& a, const ChoiceGroup& b) { return a.choice == b.choice; });
    if (settled) break;
    if (bytes_of(groups) <= target && solved.loss <= best_loss) {
      best = groups;
      best_loss = solved.loss;
      optimal = solved.optimal;
    }
  }
  groups = std::move(best);
  return optimal;
}

bool MixSearch::solve_groups(const MixBudget& budget, const ScoreTable& table, std::vector<ChoiceGroup>& groups) {
  if (!budget.avg_bits) return solve_target(*budget.target_size, table, groups);
  const Solved solved = allocate(groups, table, group_budget(*budget.avg_bits, groups_, costs_, range_));
  ARKIT_CHECK(solved.feasible, "the budget was checked before scoring");
  return solved.optimal;
}

Mix MixSearch::mix_of(const MixBudget& budget, const std::vector<ChoiceGroup>& groups, bool optimal) {
  Mix mix{.budget = budget, .choice = layer_choices(groups, pool_.layers.size()), .measured_kl = {}};
  mix.average_bits = static_cast<double>(chosen_bits(groups) + costs_.pinned) /
                     static_cast<double>(std::max<int64_t>(costs_.weights, 1));
  mix.predicted_loss = chosen_loss(groups, table_);
  mix.optimal = optimal;
  mix.bytes = bytes_of(groups);
  return mix;
}

Mix MixSearch::solve(const MixBudget& budget, bool with_divergence) {
  std::vector<ChoiceGroup> groups = groups_;
  const bool optimal = solve_groups(budget, table_, groups);
  Mix mix = mix_of(budget, groups, optimal);
  if (rounded_) mix.changed_by_tuning = changed_by_tuning(budget, groups);
  if (with_divergence || options_.auto_scheme.refine_seconds > 0) measure(budget, groups, mix);
  return mix;
}

// The divergence of the mix, and of the better one that exchanges find.
void MixSearch::measure(const MixBudget& budget, std::vector<ChoiceGroup>& groups, Mix& mix) {
  const double seconds = options_.auto_scheme.refine_seconds;
  reporter_.step(str(seconds > 0 ? "refining the mix of " : "measuring the mix of ", budget.text()));
  if (!meter_) meter_.emplace(*model_, samples_, pool_.layers, scheme_for_, reporter_);
  KlMeter& meter = *meter_;
  if (seconds <= 0) {
    mix.measured_kl = meter.measure(mix.choice, false);
    return;
  }
  const int64_t room = budget.avg_bits
                           ? group_budget(*budget.avg_bits, groups_, costs_, range_)
                           : chosen_bits(groups) + std::max<int64_t>(*budget.target_size - mix.bytes, 0) * 8;
  const std::vector<ChoiceGroup> solved = groups;
  const Refined refined = refine(
      groups, table_, room,
      [&meter](const std::vector<size_t>& choice, bool keep) { return meter.measure(choice, keep); }, seconds,
      reporter_);
  Mix better = mix_of(budget, groups, mix.optimal);
  better.measured_kl = refined.after;
  better.exchanges = refined.accepted;
  better.changed_by_tuning = mix.changed_by_tuning;
  // Texts grow with what a file says of single layers: the size is looked at again.
  if (budget.target_size && better.bytes > *budget.target_size) {
    groups = solved;
    mix.measured_kl = refined.before;
    return;
  }
  better.kl_before_refinement = refined.before;
  mix = std::move(better);
}

std::vector<LossPoint> MixSearch::curve(size_t points) {
  const std::vector<ProgramGroup> program = program_groups(groups_, table_);
  const CostRange range = cost_range(program);
  std::vector<LossPoint> curve;
  for (size_t i = 0; i < points; ++i) {
    const double share = points > 1 ? static_cast<double>(i) / static_cast<double>(points - 1) : 1.0;
    const auto budget = range.least + static_cast<int64_t>(share * static_cast<double>(range.most - range.least));
    const auto result = auto_scheme::solve(program, budget);
    const double bits = static_cast<double>(result->cost + costs_.pinned) / static_cast<double>(costs_.weights);
    if (curve.empty() || bits > curve.back().average_bits) curve.push_back({bits, result->loss});
  }
  return curve;
}

}  // namespace arkit
