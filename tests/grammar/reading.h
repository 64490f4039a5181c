#pragma once
// Reads texts with an automaton, byte by byte.

#include <string_view>

#include "grammar/automaton.h"
#include "grammar/json_schema.h"
#include "grammar/machine.h"
#include "grammar/notation.h"

namespace arkit::testing {

enum class Reading { dead, open, fits };

inline Reading read(const grammar::Automaton& automaton, std::string_view text) {
  grammar::Machine machine(automaton);
  grammar::SetId set = machine.start();
  for (const char c : text) set = machine.next(set, static_cast<uint8_t>(c));
  if (set == grammar::Machine::kDead) return Reading::dead;
  return machine.set(set).complete ? Reading::fits : Reading::open;
}

inline grammar::Automaton of_notation(std::string_view text) {
  grammar::RuleId start = -1;
  const grammar::Draft draft = grammar::read_notation(text, "'g'", start);
  return {draft, start};
}

inline grammar::Automaton of_schema(std::string_view schema) {
  grammar::RuleId start = -1;
  const json::Value parsed = json::parse(schema, "'s'");
  const grammar::Draft draft = grammar::read_json_schema(parsed, "'s'", start);
  return {draft, start};
}

}  // namespace arkit::testing
