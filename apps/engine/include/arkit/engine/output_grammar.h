#pragma once
// What an output may be: JSON that fits a schema, or a text of a grammar (docs/GRAMMARS.md). With it in SamplingOptions
// only tokens are picked that begin such a text, and the output ends where it is complete.
//
//   const auto words = std::make_shared<const TokenBytes>(tokenizer);
//   const OutputRules rules = OutputRules::json_schema(schema, "response_format");
//   request.sampling.grammar = std::make_shared<const OutputGrammar>(rules, words);

#include <memory>
#include <string>
#include <string_view>

#include <arkit/engine/tokenizer.h>
#include <arkit/export.h>
#include <arkit/json.h>

namespace arkit {

namespace grammar {
class Automaton;
class TokenTrie;
}  // namespace grammar

// The tokens of a model as bytes: made once for all its grammars. Takes a few bytes a byte of the vocabulary.
class ARKIT_EXPORT TokenBytes {
 public:
  // Throws ErrorCode::unsupported for a tokenizer whose tokens are no text by themselves.
  explicit TokenBytes(const Tokenizer& tokenizer);
  ~TokenBytes();
  [[nodiscard]] const grammar::TokenTrie& trie() const { return *trie_; }

 private:
  std::unique_ptr<const grammar::TokenTrie> trie_;
};

// A schema or grammar by itself; immutable, cheap to copy. `what` opens the messages of errors: ErrorCode::input for
// what is none or what no text fits, ErrorCode::unsupported for what is not followed, with its place.
class ARKIT_EXPORT OutputRules {
 public:
  [[nodiscard]] static OutputRules json_schema(const json::Value& schema, const std::string& what);
  // Any object.
  [[nodiscard]] static OutputRules json_object();
  [[nodiscard]] static OutputRules of_grammar(std::string_view text, const std::string& what);
  [[nodiscard]] const std::shared_ptr<const grammar::Automaton>& automaton() const { return automaton_; }

 private:
  explicit OutputRules(std::shared_ptr<const grammar::Automaton> automaton) : automaton_(std::move(automaton)) {}
  std::shared_ptr<const grammar::Automaton> automaton_;
};

// Rules for the tokens of a model, and what was found out about them so far. Many outputs may share one, in any thread.
class ARKIT_EXPORT OutputGrammar {
 public:
  // Throws ErrorCode::unsupported where no byte that may follow is a token of its own: an output might get stuck.
  OutputGrammar(OutputRules rules, std::shared_ptr<const TokenBytes> words);
  ~OutputGrammar();
  OutputGrammar(const OutputGrammar&) = delete;
  OutputGrammar& operator=(const OutputGrammar&) = delete;

  struct State;
  [[nodiscard]] State& state() const { return *state_; }  // of the engine

 private:
  std::unique_ptr<State> state_;
};

}  // namespace arkit
