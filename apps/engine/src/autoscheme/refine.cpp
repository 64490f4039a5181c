#include "autoscheme/refine.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numbers>
#include <set>
#include <tuple>

#include <arkit/str.h>

#include "util/seconds.h"

namespace arkit::auto_scheme {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kFailures = 100;  // in a row
// Standard deviation of a predicted loss, relative to it (ADR 0018).
constexpr double kUncertainty = 0.3;

// One group to another option.
struct Change {
  size_t group = 0, option = 0;
  double gain = 0.0;    // predicted fall of the loss
  double spread = 0.0;  // its standard deviation
  int64_t bits = 0;     // more of them
};

struct Move {
  const Change* up = nullptr;
  const Change* down = nullptr;  // null = none
  double hope = 0.0;             // expected improvement, counting only outcomes that are one
};

// E[max(0, gain)] of a normal variable.
double expected_improvement(double gain, double spread) {
  if (spread <= 0.0) return std::max(gain, 0.0);
  const double z = gain / spread;
  const double density = std::exp(-0.5 * z * z) / std::sqrt(2.0 * std::numbers::pi);
  return gain * 0.5 * std::erfc(-z / std::numbers::sqrt2) + spread * density;
}

class Refiner {
 public:
  Refiner(std::vector<ChoiceGroup>& groups, const ScoreTable& table, int64_t budget, const Measure& measure)
      : groups_(groups), table_(table), budget_(budget), measure_(measure), choice_(table.layers.size(), 0) {
    for (const ChoiceGroup& group : groups_) apply(group, group.choice);
    for (const ChoiceGroup& group : groups_) used_ += group.bits[group.choice];
  }

  Refined run(double seconds, Reporter& reporter);

 private:
  using Key = std::tuple<size_t, size_t, size_t, size_t>;  // groups and options of a move

  void apply(const ChoiceGroup& group, size_t option) {
    for (const size_t layer : group.layers) choice_[layer] = option;
  }
  [[nodiscard]] double loss_of(const ChoiceGroup& group, size_t option) const {
    double sum = 0.0;
    for (const size_t layer : group.layers) sum += table_.loss[layer][option];
    return sum;
  }
  void list_changes();
  [[nodiscard]] Move best_move() const;
  [[nodiscard]] bool allowed(int64_t more_bits) const { return used_ + more_bits <= budget_; }
  [[nodiscard]] Key key_of(const Move& move) const;
  [[nodiscard]] bool try_move(const Move& move, Refined& result);
  void set(const Change& change) { apply(groups_[change.group], change.option); }
  void unset(const Change& change) { apply(groups_[change.group], groups_[change.group].choice); }

  std::vector<ChoiceGroup>& groups_;
  const ScoreTable& table_;
  int64_t budget_, used_ = 0;
  const Measure& measure_;
  std::vector<size_t> choice_;
  std::vector<Change> ups_, downs_;
  std::set<Key> tried_;
};

void Refiner::list_changes() {
  ups_.clear();
  downs_.clear();
  for (size_t g = 0; g < groups_.size(); ++g) {
    const ChoiceGroup& group = groups_[g];
    const double now = loss_of(group, group.choice);
    for (size_t option = 0; option < group.bits.size(); ++option) {
      if (option == group.choice || group.bits[option] >= kNotOffered) continue;
      const double gain = now - loss_of(group, option);
      const Change change{g, option, gain, kUncertainty * std::abs(gain),
                          group.bits[option] - group.bits[group.choice]};
      (gain > 0.0 ? ups_ : downs_).push_back(change);
    }
  }
}

Refiner::Key Refiner::key_of(const Move& move) const {
  const size_t none = groups_.size();
  return {move.up->group, move.up->option, move.down == nullptr ? none : move.down->group,
          move.down == nullptr ? none : move.down->option};
}

Move Refiner::best_move() const {
  Move best;
  const auto consider = [&](const Change& up, const Change* down) {
    const double gain = up.gain + (down == nullptr ? 0.0 : down->gain);
    const double spread = down == nullptr ? up.spread : std::hypot(up.spread, down->spread);
    const Move move{&up, down, expected_improvement(gain, spread)};
    if (move.hope > best.hope && !tried_.contains(key_of(move))) best = move;
  };
  for (const Change& up : ups_) {
    if (allowed(up.bits)) consider(up, nullptr);
    for (const Change& down : downs_)
      if (down.group != up.group && allowed(up.bits + down.bits)) consider(up, &down);
  }
  return best;
}

bool Refiner::try_move(const Move& move, Refined& result) {
  tried_.insert(key_of(move));
  ++result.tried;
  set(*move.up);
  if (move.down != nullptr) set(*move.down);
  const double loss = measure_(choice_, false);
  if (!(loss < result.after)) {
    unset(*move.up);
    if (move.down != nullptr) unset(*move.down);
    return false;
  }
  for (const Change* change : {move.up, move.down}) {
    if (change == nullptr) continue;
    groups_[change->group].choice = change->option;
    used_ += change->bits;
  }
  result.after = measure_(choice_, true);
  ++result.accepted;
  return true;
}

Refined Refiner::run(double seconds, Reporter& reporter) {
  const auto start = Clock::now();
  Refined result;
  result.before = result.after = measure_(choice_, true);
  int64_t failures = 0;
  for (list_changes(); failures < kFailures;) {
    throw_if_interrupted();
    const double spent = seconds_since(start);
    if (spent >= seconds) return result;
    reporter.progress({"refining", static_cast<int64_t>(spent), static_cast<int64_t>(seconds), "seconds"});
    const Move move = best_move();
    if (move.up == nullptr) break;
    if (try_move(move, result)) {
      failures = 0;
      list_changes();
    } else {
      ++failures;
    }
  }
  result.finished = true;
  return result;
}

}  // namespace

Refined refine(std::vector<ChoiceGroup>& groups, const ScoreTable& table, int64_t budget, const Measure& measure,
               double seconds, Reporter& reporter) {
  return Refiner(groups, table, budget, measure).run(seconds, reporter);
}

}  // namespace arkit::auto_scheme
