#pragma once
// After the program: exchanges of bits between groups that lower the measured loss. No LibTorch here.

#include <cstdint>
#include <functional>
#include <vector>

#include <arkit/export.h>
#include <arkit/log.h>

#include "autoscheme/score_table.h"

namespace arkit::auto_scheme {

// The true loss of an allocation, given as the option of every layer of the pool; `keep`: later calls will be close to
// this one (KlMeter::measure).
using Measure = std::function<double(const std::vector<size_t>& choice, bool keep)>;

struct Refined {
  double before = 0.0, after = 0.0;  // measured
  int64_t tried = 0, accepted = 0;
  bool finished = false;  // no exchange is left that could help, as opposed to: the time was up
};

// Changes groups' choices so that bits stay within `budget` and the measured loss never rises. Moves are one group up
// (where bits are left over) or one up and another down, in the order of the improvement that the predicted losses let
// one hope for; each is measured and taken back unless the loss falls. Ends after `seconds`, or when a hundred moves in
// a row did not help: with time for that the result depends on nothing but the input.
ARKIT_INTERNAL Refined refine(std::vector<ChoiceGroup>& groups, const ScoreTable& table, int64_t budget,
                              const Measure& measure, double seconds, Reporter& reporter);

}  // namespace arkit::auto_scheme
