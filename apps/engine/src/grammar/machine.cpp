#include "grammar/machine.h"

#include <algorithm>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::grammar {
namespace {

// Places a text may be at, and callers of a context: JSON schemas have as many as alternatives that begin alike.
constexpr size_t kMostItems = 4096;

void sort_unique(std::vector<Machine::Item>& items) {
  std::sort(items.begin(), items.end());
  items.erase(std::unique(items.begin(), items.end()), items.end());
  if (items.size() > kMostItems)
    throw_unsupported(str("the grammar is too ambiguous: the text so far can be read in more than ", kMostItems,
                          " ways; write repetitions as item*, and alternatives so that they begin differently"));
}

}  // namespace

Machine::Machine(const Automaton& automaton)
    : automaton_(automaton), classes_(static_cast<size_t>(automaton.classes())) {
  (void)number(Set{});
  (void)number(Context{.callers = {}, .top = true, .hole = false});
  (void)number(Context{.callers = {}, .top = false, .hole = true});
  Set begin;
  begin.complete = automaton.may_be_empty();
  start_ = closed({{automaton.start_state(automaton.start_rule()), kTop}}, std::move(begin));
}

SetId Machine::alone(int32_t state) {
  return number(Set{.items = {{state, kHole}}});
}

SetId Machine::after(ContextId context) {
  const auto found = after_.find(context);
  if (found != after_.end()) return found->second;
  const Context& left = *contexts_[static_cast<size_t>(context)];
  Set set;
  set.complete = left.top;
  set.leaves = left.hole;
  const SetId id = closed(left.callers, std::move(set));
  after_.emplace(context, id);
  return id;
}

SetId Machine::find_next(SetId id, int32_t byte_class) {
  const uint8_t byte = automaton_.byte_of(byte_class);
  std::vector<Item> items;
  for (const Item& item : set(id).items)
    for (const auto& edge : automaton_.edges(item.state))
      if (edge.bytes.first <= byte && byte <= edge.bytes.last) items.push_back({edge.to, item.context});
  const SetId found = closed(std::move(items), Set());
  next_[static_cast<size_t>(id) * classes_ + static_cast<size_t>(byte_class)] = found;
  return found;
}

// First the rules that have ended give way to their callers; then all rules are called that can be, callers before
// those they call (Automaton::rank), so that a context is known before it is used. A rule that was called just now has
// not ended: what is empty was passed over when the automaton was made.
SetId Machine::closed(std::vector<Item> items, Set set) {
  std::map<std::pair<int32_t, RuleId>, Context> calls;
  const auto call_all = [&](const Item& item) {
    for (const auto& call : automaton_.calls(item.state)) {
      Context& context = calls[{automaton_.rank(call.rule), call.rule}];
      if (!only_ends(call.to)) {
        context.callers.push_back({call.to, item.context});
        continue;
      }
      // The caller has nothing left to do: its own callers stand for it, and lists do not become towers.
      const Context& outer = *contexts_[static_cast<size_t>(item.context)];
      context.callers.insert(context.callers.end(), outer.callers.begin(), outer.callers.end());
      context.top |= outer.top;
      context.hole |= outer.hole;
    }
  };
  sort_unique(items);
  std::vector<Item> work = items;
  while (!work.empty()) {
    const Item item = work.back();
    work.pop_back();
    if (!automaton_.ends(item.state)) continue;
    const Context& context = *contexts_[static_cast<size_t>(item.context)];
    set.complete |= context.top;
    set.leaves |= context.hole;
    for (const Item& caller : context.callers) {
      const auto place = std::lower_bound(items.begin(), items.end(), caller);
      if (place != items.end() && *place == caller) continue;
      items.insert(place, caller);
      work.push_back(caller);
    }
  }
  const auto keep = [&](const Item& item) {
    if (!automaton_.edges(item.state).empty()) set.items.push_back(item);
  };
  for (const Item& item : items) {
    keep(item);
    call_all(item);
  }
  while (!calls.empty()) {
    auto [key, context] = *calls.begin();
    calls.erase(calls.begin());
    sort_unique(context.callers);
    const Item called{automaton_.start_state(key.second), number(std::move(context))};
    keep(called);
    call_all(called);
  }
  sort_unique(set.items);
  return number(std::move(set));
}

SetId Machine::number(Set set) {
  const size_t items = set.items.size();
  const auto [place, fresh] = set_ids_.emplace(std::move(set), static_cast<SetId>(sets_.size()));
  if (fresh) {
    sets_.push_back(&place->first);
    next_.resize(next_.size() + classes_, -1);
    numbers_ += items + classes_ / 4 + 8;
  }
  return place->second;
}

ContextId Machine::number(Context context) {
  const size_t callers = context.callers.size();
  const auto [place, fresh] = context_ids_.emplace(std::move(context), static_cast<ContextId>(contexts_.size()));
  if (fresh) {
    contexts_.push_back(&place->first);
    numbers_ += callers + 8;
  }
  return place->second;
}

}  // namespace arkit::grammar
