#pragma once
// From losses, costs and a budget to one option for every layer (docs/spec/auto-scheme.md 1).

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <arkit/export.h>

#include "autoscheme/accounting.h"
#include "autoscheme/pool.h"
#include "autoscheme/program.h"
#include "autoscheme/score_table.h"

namespace arkit::auto_scheme {

// What everything costs under one accounting, in bits.
struct Costs {
  std::vector<std::vector<int64_t>> layers;  // [layer of the pool][option]; kNotOffered = not offered
  int64_t pinned = 0;                        // of all pinned layers
  int64_t weights = 0;                       // number of weights the average is taken over: pool and pinned
};

[[nodiscard]] ARKIT_INTERNAL Costs count_costs(const Pool& pool, const CostModel& model);

// The groups as the program and refinement see them; choice 0 until solved.
[[nodiscard]] ARKIT_INTERNAL std::vector<ChoiceGroup> make_groups(const std::vector<std::vector<size_t>>& members,
                                                                  const Costs& costs);

// Losses of a group's members added; `table` has the layers of the pool in its order.
[[nodiscard]] ARKIT_INTERNAL std::vector<ProgramGroup> program_groups(std::span<const ChoiceGroup> groups,
                                                                      const ScoreTable& table);

// Averages in bits a weight that the groups can reach, pinned layers included.
struct Reach {
  double least = 0.0, most = 0.0;
  std::vector<std::pair<std::string, double>> by_option;  // every layer that may have it has it, others their cheapest
  [[nodiscard]] ARKIT_INTERNAL std::string text() const;  // "2.281 to 8.375 bits (W2A16 2.281, W8A16 8.375)"
};
[[nodiscard]] ARKIT_INTERNAL Reach reach(std::span<const ChoiceGroup> groups, const Costs& costs,
                                         std::span<const SchemeOption> options);

// Bits the groups may take for an average of `avg_bits`. A budget within 1e-3 of an end of the range means that end.
// Throws ErrorCode::usage, naming the range, for one outside.
[[nodiscard]] ARKIT_INTERNAL int64_t group_budget(double avg_bits, std::span<const ChoiceGroup> groups,
                                                  const Costs& costs, const Reach& range);

// Solves the program and sets every group's choice; nothing (false) when the budget is too small.
struct Solved {
  bool feasible = false;
  int64_t bits = 0;   // of the groups
  double loss = 0.0;  // predicted
  bool optimal = true;
};
[[nodiscard]] ARKIT_INTERNAL Solved allocate(std::vector<ChoiceGroup>& groups, const ScoreTable& table, int64_t budget);

// The option that costs least, for every group.
ARKIT_INTERNAL void choose_cheapest(std::vector<ChoiceGroup>& groups);

// Option of every layer of the pool; bits and predicted loss of the choices as they are.
[[nodiscard]] ARKIT_INTERNAL std::vector<size_t> layer_choices(std::span<const ChoiceGroup> groups, size_t layers);
[[nodiscard]] ARKIT_INTERNAL int64_t chosen_bits(std::span<const ChoiceGroup> groups);
[[nodiscard]] ARKIT_INTERNAL double chosen_loss(std::span<const ChoiceGroup> groups, const ScoreTable& table);

}  // namespace arkit::auto_scheme
