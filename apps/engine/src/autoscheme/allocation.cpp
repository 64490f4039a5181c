#include "autoscheme/allocation.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::auto_scheme {
namespace {

constexpr double kSnap = 1e-3;  // bits a weight

int64_t weights_of(const LayerPlan& layer) {
  return checked_mul(layer.out_features, layer.in_features, layer.name);
}

CostRange group_range(std::span<const ChoiceGroup> groups) {
  std::vector<ProgramGroup> costs;
  for (const ChoiceGroup& group : groups) costs.push_back({.cost = group.bits, .loss = {}});
  return cost_range(costs);
}

double average(int64_t group_bits, const Costs& costs) {
  return static_cast<double>(group_bits + costs.pinned) / static_cast<double>(std::max<int64_t>(costs.weights, 1));
}

std::string digits(double bits) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.3f", bits);
  return text;
}

}  // namespace

Costs count_costs(const Pool& pool, const CostModel& model) {
  Costs costs;
  for (size_t i = 0; i < pool.layers.size(); ++i) {
    const PoolLayer& layer = pool.layers[i];
    std::vector<int64_t>& row = costs.layers.emplace_back();
    for (size_t o = 0; o < layer.quants.size(); ++o)
      row.push_back(pool.offered[i][o] ? model.bits(layer.plan, layer.quants[o]) : kNotOffered);
    costs.weights = checked_add(costs.weights, weights_of(layer.plan), "weights of the pool");
  }
  for (const LayerPlan& layer : pool.pinned) {
    costs.pinned = checked_add(costs.pinned, model.bits(layer, layer.quant), "bits of the pinned layers");
    costs.weights = checked_add(costs.weights, weights_of(layer), "weights of the pool");
  }
  return costs;
}

std::vector<ChoiceGroup> make_groups(const std::vector<std::vector<size_t>>& members, const Costs& costs) {
  std::vector<ChoiceGroup> groups;
  for (const std::vector<size_t>& layers : members) {
    ChoiceGroup group{.layers = layers, .bits = std::vector<int64_t>(costs.layers.at(layers.front()).size(), 0)};
    for (const size_t layer : layers)
      for (size_t o = 0; o < group.bits.size(); ++o)
        group.bits[o] = std::min(kNotOffered, group.bits[o] + costs.layers[layer][o]);
    groups.push_back(std::move(group));
  }
  return groups;
}

std::vector<ProgramGroup> program_groups(std::span<const ChoiceGroup> groups, const ScoreTable& table) {
  std::vector<ProgramGroup> program;
  for (const ChoiceGroup& group : groups) {
    ProgramGroup entry{.cost = group.bits, .loss = std::vector<double>(group.bits.size(), 0.0)};
    for (const size_t layer : group.layers)
      for (size_t o = 0; o < entry.loss.size(); ++o) entry.loss[o] += table.loss.at(layer).at(o);
    for (size_t o = 0; o < entry.loss.size(); ++o)
      ARKIT_CHECK(group.bits[o] >= kNotOffered || std::isfinite(entry.loss[o]),
                  str("the score of option '", table.options.at(o), "' is not a number"));
    program.push_back(std::move(entry));
  }
  return program;
}

std::string Reach::text() const {
  std::string each;
  for (const auto& [name, bits] : by_option) each += (each.empty() ? "" : ", ") + name + " " + digits(bits);
  return str(digits(least), " to ", digits(most), " bits a weight (", each, ")");
}

Reach reach(std::span<const ChoiceGroup> groups, const Costs& costs, std::span<const SchemeOption> options) {
  const CostRange range = group_range(groups);
  Reach reached{.least = average(range.least, costs), .most = average(range.most, costs), .by_option = {}};
  for (size_t o = 0; o < options.size(); ++o) {
    int64_t bits = 0;
    for (const ChoiceGroup& group : groups)
      bits += group.bits[o] < kNotOffered ? group.bits[o] : *std::min_element(group.bits.begin(), group.bits.end());
    reached.by_option.emplace_back(options[o].name, average(bits, costs));
  }
  return reached;
}

int64_t group_budget(double avg_bits, std::span<const ChoiceGroup> groups, const Costs& costs, const Reach& range) {
  if (groups.empty()) throw_usage("no layer is left to decide on; every layer has its scheme by other options");
  if (!std::isfinite(avg_bits) || avg_bits < range.least - kSnap || avg_bits > range.most + kSnap)
    throw_usage(str("avg_bits ", avg_bits, " cannot be reached: the options give ", range.text(),
                    "; choose a budget in between, or other options"));
  const CostRange ends = group_range(groups);
  if (avg_bits < range.least + kSnap) return ends.least;
  if (avg_bits > range.most - kSnap) return ends.most;
  return static_cast<int64_t>(avg_bits * static_cast<double>(costs.weights)) - costs.pinned;
}

Solved allocate(std::vector<ChoiceGroup>& groups, const ScoreTable& table, int64_t budget) {
  const std::vector<ProgramGroup> program = program_groups(groups, table);
  const std::optional<ProgramResult> result = solve(program, budget);
  if (!result) return {};
  for (size_t g = 0; g < groups.size(); ++g) groups[g].choice = result->choice[g];
  return {.feasible = true, .bits = result->cost, .loss = result->loss, .optimal = result->optimal};
}

void choose_cheapest(std::vector<ChoiceGroup>& groups) {
  for (ChoiceGroup& group : groups)
    group.choice = static_cast<size_t>(std::min_element(group.bits.begin(), group.bits.end()) - group.bits.begin());
}

std::vector<size_t> layer_choices(std::span<const ChoiceGroup> groups, size_t layers) {
  std::vector<size_t> choices(layers, 0);
  for (const ChoiceGroup& group : groups)
    for (const size_t layer : group.layers) choices.at(layer) = group.choice;
  return choices;
}

int64_t chosen_bits(std::span<const ChoiceGroup> groups) {
  int64_t bits = 0;
  for (const ChoiceGroup& group : groups) bits += group.bits[group.choice];
  return bits;
}

double chosen_loss(std::span<const ChoiceGroup> groups, const ScoreTable& table) {
  double loss = 0.0;
  for (const ChoiceGroup& group : groups)
    for (const size_t layer : group.layers) loss += table.loss.at(layer).at(group.choice);
  return loss;
}

}  // namespace arkit::auto_scheme
