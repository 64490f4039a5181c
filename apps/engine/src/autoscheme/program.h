#pragma once
// The program of AutoScheme: one option for every group, the sum of losses least, the sum of costs within a budget
// (multiple-choice knapsack, docs/spec/auto-scheme.md 9). Pure: no LibTorch, no models.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <arkit/export.h>

#include "autoscheme/score_table.h"

namespace arkit::auto_scheme {

struct ProgramGroup {
  std::vector<int64_t> cost;  // by option, >= 0, or kNotOffered; at least one is offered
  std::vector<double> loss;   // by option, finite
};

struct ProgramResult {
  std::vector<size_t> choice;  // option of each group
  int64_t cost = 0;
  double loss = 0.0;
  bool optimal = true;  // false: more states than allowed were thinned out on the way
};

struct CostRange {
  int64_t least = 0, most = 0;  // sums of the cheapest and of the dearest option of every group
};

[[nodiscard]] ARKIT_INTERNAL CostRange cost_range(std::span<const ProgramGroup> groups);

// What the last unit of a budget is worth: the loss that one more would save if options could be mixed in a group
// (the slope of the groups' lower convex hulls at the budget). 0 where every group can have its least loss.
[[nodiscard]] ARKIT_INTERNAL double marginal_price(std::span<const ProgramGroup> groups, int64_t budget);

// The choice of least loss that costs at most `budget`; of equal losses the cheaper one, then the one with earlier
// options in later groups. Nothing when the cheapest choice costs more. The result does not depend on the machine.
//
// Dynamic program over groups on the states (cost, loss) that no other state beats in both, in units of the costs'
// greatest common divisor. States whose loss cannot fall under that of a known solution even if the rest were divisible
// are dropped, which leaves few; `max_states` is for inputs where it does not.
[[nodiscard]] ARKIT_INTERNAL std::optional<ProgramResult> solve(std::span<const ProgramGroup> groups, int64_t budget,
                                                                size_t max_states = 65536);

}  // namespace arkit::auto_scheme
