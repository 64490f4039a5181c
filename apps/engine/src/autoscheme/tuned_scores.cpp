#include "autoscheme/tuned_scores.h"

#include <algorithm>

#include "autoscheme/allocation.h"

namespace arkit::auto_scheme {
namespace {

constexpr size_t kMembers = 8;  // of a group that are tuned, at most
constexpr size_t kTypical = 5;  // groups that a typical ratio is the median of, at least

// `count` of n places, evenly spaced; all of them when there are no more.
std::vector<size_t> evenly(size_t n, size_t count) {
  std::vector<size_t> places;
  for (size_t i = 0; i < std::min(n, count); ++i) places.push_back(n <= count ? i : (2 * i + 1) * n / (2 * count));
  return places;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : 0.5 * (values[half - 1] + values[half]);
}

bool is_close(const ProgramGroup& group, size_t chosen, size_t rival, double price) {
  if (rival == chosen || group.cost[rival] >= kNotOffered) return false;
  const double loss = group.loss[rival] - group.loss[chosen];
  const auto bits = static_cast<double>(group.cost[chosen] - group.cost[rival]);
  if (!(loss * bits > 0.0)) return false;  // one of the two is better and smaller: no change of price makes it a choice
  const double exchange = loss / bits;
  return exchange <= price * kCloseFactor && exchange * kCloseFactor >= price;
}

// Nothing when no member has a ratio.
std::optional<double> ratio_of(const ChoiceGroup& group, size_t option, std::span<const PoolLayer> pool,
                               const ScoreTable& rounded, const TunedRatios& ratios) {
  double weighted = 0.0, losses = 0.0, sum = 0.0;
  int64_t count = 0;
  for (const LayerOption& member : tuned_members(group, option, pool)) {
    const auto found = ratios.find(member);
    if (found == ratios.end() || !found->second) continue;
    const double loss = rounded.loss.at(member.layer).at(option);
    weighted += loss * *found->second;
    losses += loss;
    sum += *found->second;
    ++count;
  }
  if (count == 0) return std::nullopt;
  return losses > 0.0 ? weighted / losses : sum / static_cast<double>(count);
}

}  // namespace

std::set<GroupOption> close_options(std::span<const ChoiceGroup> groups, const ScoreTable& table, double price) {
  std::set<GroupOption> close;
  if (!(price > 0.0)) return close;
  const std::vector<ProgramGroup> program = program_groups(groups, table);
  for (size_t g = 0; g < groups.size(); ++g) {
    for (size_t option = 0; option < groups[g].bits.size(); ++option) {
      if (!is_close(program[g], groups[g].choice, option, price)) continue;
      close.insert({g, option});
      close.insert({g, groups[g].choice});
    }
  }
  return close;
}

std::vector<LayerOption> tuned_members(const ChoiceGroup& group, size_t option, std::span<const PoolLayer> pool) {
  std::vector<LayerOption> all, members;
  for (const size_t layer : group.layers)
    if (pool[layer].plan.block >= 0 && pool[layer].quants[option].weight.quantized()) all.push_back({layer, option});
  for (const size_t place : evenly(all.size(), kMembers)) members.push_back(all[place]);
  return members;
}

void add_typical(std::set<GroupOption>& wanted, std::span<const ChoiceGroup> groups, std::span<const PoolLayer> pool) {
  const size_t options = groups.empty() ? 0 : groups.front().bits.size();
  for (size_t option = 0; option < options; ++option) {
    size_t known = 0;
    std::vector<GroupOption> others;
    for (size_t g = 0; g < groups.size(); ++g) {
      if (groups[g].bits[option] >= kNotOffered || tuned_members(groups[g], option, pool).empty()) continue;
      if (wanted.contains({g, option}))
        ++known;
      else
        others.push_back({g, option});
    }
    for (const size_t place : evenly(others.size(), known < kTypical ? kTypical - known : 0))
      wanted.insert(others[place]);
  }
}

TunedScores apply_ratios(const ScoreTable& rounded, std::span<const ChoiceGroup> groups,
                         std::span<const PoolLayer> pool, const std::set<GroupOption>& wanted,
                         const TunedRatios& ratios) {
  TunedScores tuned{.table = rounded, .typical = {}};
  std::map<GroupOption, double> measured;
  std::vector<std::vector<double>> by_option(rounded.options.size());
  for (const GroupOption& entry : wanted) {
    const auto ratio = ratio_of(groups[entry.group], entry.option, pool, rounded, ratios);
    if (!ratio) continue;
    measured.emplace(entry, *ratio);
    by_option[entry.option].push_back(*ratio);
  }
  for (std::vector<double>& each : by_option) tuned.typical.push_back(each.empty() ? 1.0 : median(std::move(each)));
  for (size_t g = 0; g < groups.size(); ++g) {
    for (size_t option = 0; option < tuned.typical.size(); ++option) {
      const auto own = measured.find({g, option});
      const double ratio = own == measured.end() ? tuned.typical[option] : own->second;
      for (const size_t layer : groups[g].layers)
        if (pool[layer].plan.kind != LayerKind::embedding) tuned.table.loss[layer][option] *= ratio;
    }
  }
  return tuned;
}

}  // namespace arkit::auto_scheme
