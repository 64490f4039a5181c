#pragma once
// Which tokens may follow. What a state lets pass whatever its rule was called from is asked of the whole vocabulary
// once; what is then left, tokens that go on behind the end of the rule, is asked for each context.

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "grammar/machine.h"
#include "grammar/token_trie.h"

namespace arkit::grammar {

// A bit for each token, 64 a word.
using TokenBits = std::vector<uint64_t>;

class TokenFilter {
 public:
  TokenFilter(const Automaton& automaton, const TokenTrie& trie)
      : trie_(trie), machine_(automaton), path_(trie.longest() + 1) {}

  // Valid until the next call.
  [[nodiscard]] const TokenBits& allowed(SetId set);
  [[nodiscard]] Machine& machine() { return machine_; }

 private:
  // Of a state in any context.
  struct Kept {
    std::vector<int32_t> tokens;  // that pass; where they are many, bits instead
    TokenBits bits;
    std::vector<int32_t> leaving;  // nodes of the trie at which the rule may have ended
  };
  [[nodiscard]] const Kept& kept(int32_t state);
  template <typename Seen>
  void walk(SetId set, int32_t begin, int32_t end, uint16_t depth, const Seen& seen);
  void let_pass(int32_t token, TokenBits& bits) const;

  const TokenTrie& trie_;
  Machine machine_;
  std::unordered_map<int32_t, Kept> kept_;
  std::unordered_map<SetId, TokenBits> allowed_;
  size_t kept_words_ = 0, allowed_words_ = 0;
  std::vector<SetId> path_;  // [depth]: where the text is after so many bytes of a token
};

}  // namespace arkit::grammar
