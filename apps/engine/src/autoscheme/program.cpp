#include "autoscheme/program.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include <arkit/error.h>

namespace arkit::auto_scheme {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// An option of a group that no cheaper one beats. `cost` is what it costs beyond the group's cheapest option.
struct Item {
  int64_t cost;
  double loss;
  uint32_t option;
};

// Moving a group from one item of its lower convex hull to the next.
struct Step {
  uint32_t group;
  int64_t cost;
  double gain;
};

struct State {
  int64_t cost;
  double loss;
  uint32_t parent;  // index into the states before this group
  uint32_t item;    // of the group
};

// How a state of a level came about; all that is kept of past levels.
struct Trace {
  uint32_t parent, item;
};

int64_t common_divisor(std::span<const ProgramGroup> groups) {
  int64_t unit = 0;
  for (const ProgramGroup& group : groups)
    for (const int64_t cost : group.cost)
      if (cost < kNotOffered) unit = std::gcd(unit, cost);
  return std::max<int64_t>(unit, 1);
}

std::vector<Item> efficient_items(const ProgramGroup& group, int64_t unit) {
  std::vector<Item> items;
  for (size_t o = 0; o < group.cost.size(); ++o)
    if (group.cost[o] < kNotOffered) items.push_back({group.cost[o] / unit, group.loss[o], static_cast<uint32_t>(o)});
  ARKIT_CHECK(!items.empty(), "a group without an option");
  std::stable_sort(items.begin(), items.end(),
                   [](const Item& a, const Item& b) { return a.cost != b.cost ? a.cost < b.cost : a.loss < b.loss; });
  double best = kInfinity;
  std::erase_if(items, [&best](const Item& item) {
    if (!(item.loss < best)) return true;
    best = item.loss;
    return false;
  });
  return items;
}

// Steps of all groups, the most gain for its cost first; a group's steps come in their order.
std::vector<Step> hull_steps(const std::vector<std::vector<Item>>& groups) {
  std::vector<Step> steps;
  for (size_t g = 0; g < groups.size(); ++g) {
    std::vector<Item> hull;
    for (const Item& item : groups[g]) {
      const auto lies_above = [&] {
        const Item &a = hull[hull.size() - 2], &b = hull.back();
        return (a.loss - b.loss) * static_cast<double>(item.cost - b.cost) <=
               (b.loss - item.loss) * static_cast<double>(b.cost - a.cost);
      };
      while (hull.size() >= 2 && lies_above()) hull.pop_back();
      hull.push_back(item);
    }
    for (size_t i = 1; i < hull.size(); ++i)
      steps.push_back({static_cast<uint32_t>(g), hull[i].cost - hull[i - 1].cost, hull[i - 1].loss - hull[i].loss});
  }
  std::stable_sort(steps.begin(), steps.end(), [](const Step& a, const Step& b) {
    return a.gain * static_cast<double>(b.cost) > b.gain * static_cast<double>(a.cost);
  });
  return steps;
}

class Program {
 public:
  Program(std::span<const ProgramGroup> groups, int64_t budget, size_t max_states)
      : unit_(common_divisor(groups)), max_states_(max_states) {
    room_ = budget / unit_;
    for (const ProgramGroup& group : groups) {
      groups_.push_back(efficient_items(group, unit_));
      const int64_t least = groups_.back().front().cost;
      floor_ += least;
      for (Item& item : groups_.back()) item.cost -= least;
      floor_loss_ += groups_.back().front().loss;
    }
    room_ -= floor_;
    steps_ = hull_steps(groups_);
  }

  std::optional<ProgramResult> run() {
    if (room_ < 0) return std::nullopt;
    // Sums of losses in another order differ in their last digits; a state is dropped only when it is clearly worse.
    incumbent_ = greedy_loss() + 1e-12 * (1.0 + floor_loss_);
    std::vector<State> states{{0, 0.0, 0, 0}};
    rest_loss_ = floor_loss_;
    for (size_t g = 0; g < groups_.size(); ++g) {
      rest_loss_ -= groups_[g].front().loss;
      states = prune(extend(states, groups_[g]), g + 1);
      std::vector<Trace>& level = trace_.emplace_back();
      level.reserve(states.size());
      for (const State& state : states) level.push_back({state.parent, state.item});
    }
    return result(states);
  }

  double price() const {
    int64_t left = room_;
    for (const Step& step : steps_) {
      if (step.cost > left) return step.gain / static_cast<double>(step.cost * unit_);
      left -= step.cost;
    }
    return 0.0;
  }

 private:
  // Follows the steps as far as they fit; a step that does not fit ends its group.
  double greedy_loss() const {
    std::vector<bool> stopped(groups_.size(), false);
    int64_t left = room_;
    double loss = floor_loss_;
    for (const Step& step : steps_) {
      if (stopped[step.group]) continue;
      if (step.cost > left) {
        stopped[step.group] = true;
        continue;
      }
      left -= step.cost;
      loss -= step.gain;
    }
    return loss;
  }

  // All ways to go on, by rising cost; of those only the ones with less loss than every cheaper one.
  std::vector<State> extend(const std::vector<State>& states, const std::vector<Item>& items) const {
    std::vector<State> next;
    std::vector<size_t> at(items.size(), 0);
    double best = kInfinity;
    for (;;) {
      size_t chosen = items.size();
      State found{std::numeric_limits<int64_t>::max(), kInfinity, 0, 0};
      for (size_t i = 0; i < items.size(); ++i) {
        if (at[i] == states.size()) continue;
        const State& from = states[at[i]];
        const State state{from.cost + items[i].cost, from.loss + items[i].loss, static_cast<uint32_t>(at[i]),
                          static_cast<uint32_t>(i)};
        if (state.cost > found.cost || (state.cost == found.cost && state.loss >= found.loss)) continue;
        found = state;
        chosen = i;
      }
      if (chosen == items.size() || found.cost > room_) return next;
      ++at[chosen];
      if (!(found.loss < best)) continue;
      best = found.loss;
      next.push_back(found);
    }
  }

  // Drops states that even a divisible rest (groups from `first` on) would not bring under the incumbent.
  std::vector<State> prune(std::vector<State> states, size_t first) {
    std::vector<int64_t> cost{0};
    std::vector<double> gain{0.0};
    for (const Step& step : steps_) {
      if (step.group < first) continue;
      cost.push_back(cost.back() + step.cost);
      gain.push_back(gain.back() + step.gain);
    }
    size_t piece = cost.size() - 1;
    std::erase_if(states, [&](const State& state) {
      const int64_t left = room_ - state.cost;
      while (piece > 0 && cost[piece] > left) --piece;
      double more = gain[piece];
      if (piece + 1 < cost.size())
        more += (gain[piece + 1] - gain[piece]) * static_cast<double>(left - cost[piece]) /
                static_cast<double>(cost[piece + 1] - cost[piece]);
      return state.loss + rest_loss_ - more > incumbent_;
    });
    thin(states);
    return states;
  }

  // Of many states the best of each of max_states spans of cost; the first and so the cheapest always.
  void thin(std::vector<State>& states) {
    if (states.size() <= max_states_) return;
    optimal_ = false;
    const int64_t first = states.front().cost;
    const int64_t span = (states.back().cost - first) / static_cast<int64_t>(max_states_ - 1) + 1;
    std::vector<State> kept{states.front()};
    for (size_t i = 1; i < states.size(); ++i) {
      const bool last_of_span =
          i + 1 == states.size() || (states[i].cost - first) / span != (states[i + 1].cost - first) / span;
      if (last_of_span) kept.push_back(states[i]);
    }
    states = std::move(kept);
  }

  ProgramResult result(const std::vector<State>& states) const {
    ARKIT_CHECK(!states.empty(), "the program lost its best state");
    const State& best = states.back();  // the dearest that is left loses least
    ProgramResult result{.choice = std::vector<size_t>(groups_.size()),
                         .cost = (best.cost + floor_) * unit_,
                         .loss = best.loss,
                         .optimal = optimal_};
    size_t index = states.size() - 1;
    for (size_t g = groups_.size(); g-- > 0;) {
      const Trace& step = trace_[g][index];
      result.choice[g] = groups_[g][step.item].option;
      index = step.parent;
    }
    return result;
  }

  int64_t unit_ = 1, room_ = 0, floor_ = 0;  // room_: what is left of the budget above the cheapest choice, in units
  size_t max_states_;
  double floor_loss_ = 0.0, rest_loss_ = 0.0, incumbent_ = 0.0;  // losses of cheapest choices: of all, of what is left
  bool optimal_ = true;
  std::vector<std::vector<Item>> groups_;
  std::vector<Step> steps_;
  std::vector<std::vector<Trace>> trace_;
};

}  // namespace

CostRange cost_range(std::span<const ProgramGroup> groups) {
  CostRange range;
  for (const ProgramGroup& group : groups) {
    int64_t least = kNotOffered, most = 0;
    for (const int64_t cost : group.cost) {
      if (cost >= kNotOffered) continue;
      least = std::min(least, cost);
      most = std::max(most, cost);
    }
    range.least += least;
    range.most += most;
  }
  return range;
}

double marginal_price(std::span<const ProgramGroup> groups, int64_t budget) {
  return Program(groups, budget, 0).price();
}

std::optional<ProgramResult> solve(std::span<const ProgramGroup> groups, int64_t budget, size_t max_states) {
  ARKIT_CHECK(max_states >= 2, "the program needs room for two states");
  if (budget < 0) return std::nullopt;
  return Program(groups, budget, max_states).run();
}

}  // namespace arkit::auto_scheme
