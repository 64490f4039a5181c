#pragma once
// Runs an automaton. Where it may be is a set of pairs of a state and a context, which is what its rule was called
// from: pairs of the state to go on with and the context of the caller. All callers of a rule at one place of a text
// share one context, so that ambiguous grammars take time and room that grow with the text, not with the number of ways
// to read it. Sets and contexts have numbers, and what follows a set for a byte is looked for once.

#include <cstdint>
#include <map>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "grammar/automaton.h"

namespace arkit::grammar {

using SetId = int32_t;
using ContextId = int32_t;

class Machine {
 public:
  static constexpr SetId kDead = 0;  // nothing fits
  static constexpr ContextId kTop = 0;
  static constexpr ContextId kHole = 1;  // stands for any context

  struct Item {
    int32_t state = -1;
    ContextId context = -1;
    auto operator<=>(const Item&) const = default;
  };
  struct Set {
    std::vector<Item> items;  // that take a byte
    bool complete = false;    // the text may end here
    bool leaves = false;      // what is in the hole may go on here
    auto operator<=>(const Set&) const = default;
  };

  explicit Machine(const Automaton& automaton);

  [[nodiscard]] SetId start() const { return start_; }
  // Throws ErrorCode::unsupported where a grammar of rules is too ambiguous.
  [[nodiscard]] SetId next(SetId set, uint8_t byte) {
    const auto at = static_cast<size_t>(set) * classes_ + static_cast<size_t>(automaton_.class_of(byte));
    const SetId known = next_[at];
    return known >= 0 ? known : find_next(set, automaton_.class_of(byte));
  }
  [[nodiscard]] const Set& set(SetId id) const { return *sets_[static_cast<size_t>(id)]; }
  // The state alone in a context that is not known.
  [[nodiscard]] SetId alone(int32_t state);
  // Where the callers go on when their rule has ended.
  [[nodiscard]] SetId after(ContextId context);
  // Numbers in all; grows with what was asked.
  [[nodiscard]] size_t size() const { return numbers_; }

 private:
  struct Context {
    std::vector<Item> callers;
    bool top = false, hole = false;
    auto operator<=>(const Context&) const = default;
  };
  [[nodiscard]] SetId find_next(SetId set, int32_t byte_class);
  [[nodiscard]] SetId closed(std::vector<Item> items, Set set);
  [[nodiscard]] SetId number(Set set);
  [[nodiscard]] ContextId number(Context context);
  [[nodiscard]] bool only_ends(int32_t state) const {
    return automaton_.edges(state).empty() && automaton_.calls(state).empty();
  }

  const Automaton& automaton_;
  size_t classes_;
  std::map<Set, SetId> set_ids_;
  std::vector<const Set*> sets_;
  std::vector<SetId> next_;  // [set][class], -1 = not looked for
  std::map<Context, ContextId> context_ids_;
  std::vector<const Context*> contexts_;
  std::unordered_map<ContextId, SetId> after_;
  SetId start_ = kDead;
  size_t numbers_ = 0;
};

}  // namespace arkit::grammar
