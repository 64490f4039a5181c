#include "inference/constraint.h"

#include <algorithm>
#include <mutex>
#include <optional>
#include <utility>

#include <arkit/error.h>
#include <arkit/str.h>

#include "grammar/automaton.h"
#include "grammar/json_schema.h"
#include "grammar/notation.h"
#include "grammar/token_filter.h"

namespace arkit {
namespace {

// Numbers of a machine, 4 to 16 bytes each, before it is made anew and outputs are read again from their beginnings.
constexpr size_t kMostNumbers = size_t{4} << 20;

std::shared_ptr<const grammar::Automaton> compiled(const grammar::Draft& draft, grammar::RuleId start) {
  return std::make_shared<const grammar::Automaton>(draft, start);
}

}  // namespace

TokenBytes::TokenBytes(const Tokenizer& tokenizer) {
  std::vector<std::string> bytes(static_cast<size_t>(tokenizer.end_id()));
  for (size_t id = 0; id < bytes.size(); ++id) bytes[id] = tokenizer.token_bytes(static_cast<int64_t>(id));
  trie_ = std::make_unique<const grammar::TokenTrie>(bytes);
}
TokenBytes::~TokenBytes() = default;

OutputRules OutputRules::json_schema(const json::Value& schema, const std::string& what) {
  grammar::RuleId start = -1;
  const grammar::Draft draft = grammar::read_json_schema(schema, what, start);
  return OutputRules(compiled(draft, start));
}

OutputRules OutputRules::json_object() {
  return json_schema(json::Object{{"type", "object"}}, "json_object");
}

OutputRules OutputRules::of_grammar(std::string_view text, const std::string& what) {
  grammar::RuleId start = -1;
  const grammar::Draft draft = grammar::read_notation(text, what, start);
  return OutputRules(compiled(draft, start));
}

struct OutputGrammar::State {
  State(OutputRules given, std::shared_ptr<const TokenBytes> tokens)
      : rules(std::move(given)), words(std::move(tokens)) {
    for (size_t state = 0; state < automaton().size(); ++state) require_way_on(static_cast<int32_t>(state));
    filter.emplace(automaton(), words->trie());
  }
  [[nodiscard]] const grammar::Automaton& automaton() const { return *rules.automaton(); }
  // A byte without a token of its own is a character that cannot be written, and no matter where others can: then every
  // text that was begun can be ended. Vocabularies lack some, such as the first bytes of the rarest planes.
  void require_way_on(int32_t state) const {
    if (automaton().ends(state) || !automaton().calls(state).empty() || automaton().edges(state).empty()) return;
    for (const grammar::Automaton::Edge& edge : automaton().edges(state))
      for (int byte = edge.bytes.first; byte <= edge.bytes.last; ++byte)
        if (words->trie().has_byte(static_cast<uint8_t>(byte))) return;
    throw_unsupported(str("the model has no token for the byte ", int{automaton().edges(state).front().bytes.first},
                          " alone, without which an output might not end; this takes a vocabulary with all bytes"));
  }
  // Between two tokens. What was found out is given up where it has become too much.
  void keep_small() {
    if (filter->machine().size() <= kMostNumbers) return;
    filter.emplace(automaton(), words->trie());
    ++epoch;
  }

  const OutputRules rules;
  const std::shared_ptr<const TokenBytes> words;
  std::mutex mutex;  // for all below
  std::optional<grammar::TokenFilter> filter;
  uint64_t epoch = 0;
};

OutputGrammar::OutputGrammar(OutputRules rules, std::shared_ptr<const TokenBytes> words)
    : state_(std::make_unique<State>(std::move(rules), std::move(words))) {}
OutputGrammar::~OutputGrammar() = default;

Constraint::Constraint(std::shared_ptr<const OutputGrammar> grammar, std::span<const int64_t> ends)
    : grammar_(std::move(grammar)), ends_(ends.begin(), ends.end()) {}

bool Constraint::is_end(int64_t token) const {
  return std::find(ends_.begin(), ends_.end(), token) != ends_.end();
}

void Constraint::follow() {
  OutputGrammar::State& state = grammar_->state();
  if (epoch_ == state.epoch) return;
  grammar::Machine& machine = state.filter->machine();
  set_ = machine.start();
  for (const int64_t token : text_)
    for (const char c : state.words->trie().bytes(token)) set_ = machine.next(set_, static_cast<uint8_t>(c));
  epoch_ = state.epoch;
}

std::span<const float> Constraint::allowed(std::span<const float> logits) {
  if (!grammar_) return logits;
  OutputGrammar::State& state = grammar_->state();
  const std::lock_guard lock(state.mutex);
  state.keep_small();
  follow();
  const grammar::TokenBits& bits = state.filter->allowed(set_);
  masked_.assign(logits.size(), -std::numeric_limits<float>::infinity());
  const size_t known = std::min(logits.size(), static_cast<size_t>(state.words->trie().tokens()));
  for (size_t word = 0; word * 64 < known; ++word)
    for (uint64_t left = bits[word]; left != 0; left &= left - 1) {
      const size_t token = word * 64 + static_cast<size_t>(__builtin_ctzll(left));
      if (token < known) masked_[token] = logits[token];
    }
  const bool may_end = state.filter->machine().set(set_).complete;
  for (const int64_t end : ends_)
    if (end >= 0 && static_cast<size_t>(end) < masked_.size())
      masked_[static_cast<size_t>(end)] =
          may_end ? logits[static_cast<size_t>(end)] : -std::numeric_limits<float>::infinity();
  return masked_;
}

void Constraint::add(int64_t token) {
  if (!grammar_ || is_end(token)) return;
  OutputGrammar::State& state = grammar_->state();
  const std::lock_guard lock(state.mutex);
  follow();
  grammar::Machine& machine = state.filter->machine();
  const std::string_view bytes = state.words->trie().bytes(token);
  for (const char c : bytes) set_ = machine.next(set_, static_cast<uint8_t>(c));
  if (bytes.empty() || set_ == grammar::Machine::kDead)
    throw_input("the model's logits are no numbers, and no token that its grammar allows could be picked");
  text_.push_back(token);
  complete_ = machine.set(set_).complete && machine.set(set_).items.empty();
}

}  // namespace arkit
