#pragma once
// A grammar as a pushdown automaton over bytes. Inside a rule it is deterministic: at most one state follows a state
// for a byte, and one for a rule that is called. What is ambiguous between rules is up to Machine (machine.h).
// States from which no text can be completed are not there, so that whatever was begun can be ended.

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "grammar/draft.h"

namespace arkit::grammar {

class Automaton {
 public:
  struct Edge {
    ByteSpan bytes;
    int32_t to = -1;
  };
  struct Call {
    RuleId rule = -1;
    int32_t to = -1;  // where it goes on afterwards
  };

  // Texts are those of `start`. Throws ErrorCode::unsupported for a rule that begins with itself, or whose states would
  // be too many, ErrorCode::input for a grammar that no text fits.
  Automaton(const Draft& draft, RuleId start);

  [[nodiscard]] int32_t start_state(RuleId rule) const { return rules_[static_cast<size_t>(rule)].start; }
  // A rule begins before every other rule that it may begin with.
  [[nodiscard]] int32_t rank(RuleId rule) const { return rules_[static_cast<size_t>(rule)].rank; }
  [[nodiscard]] RuleId start_rule() const { return start_; }
  [[nodiscard]] bool may_be_empty() const { return may_be_empty_; }

  [[nodiscard]] std::span<const Edge> edges(int32_t state) const { return states_[static_cast<size_t>(state)].edges; }
  [[nodiscard]] std::span<const Call> calls(int32_t state) const { return states_[static_cast<size_t>(state)].calls; }
  [[nodiscard]] bool ends(int32_t state) const { return states_[static_cast<size_t>(state)].ends; }
  [[nodiscard]] size_t size() const { return states_.size(); }

  // Bytes of one class are alike to every state.
  [[nodiscard]] int32_t classes() const { return classes_; }
  [[nodiscard]] int32_t class_of(uint8_t byte) const { return class_of_[byte]; }
  [[nodiscard]] uint8_t byte_of(int32_t byte_class) const { return byte_of_[static_cast<size_t>(byte_class)]; }

 private:
  struct State {
    std::vector<Edge> edges;
    std::vector<Call> calls;
    bool ends = false;
  };
  struct Rule {
    int32_t start = -1, rank = -1;
  };
  friend class AutomatonBuilder;

  std::vector<State> states_;
  std::vector<Rule> rules_;
  RuleId start_ = -1;
  bool may_be_empty_ = false;
  int32_t classes_ = 0;
  std::array<int32_t, 256> class_of_{};
  std::vector<uint8_t> byte_of_;
};

}  // namespace arkit::grammar
