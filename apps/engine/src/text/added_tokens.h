#pragma once
// Added tokens: strings cut out of the text before anything else looks at it.

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/effort.h"
#include "text/vocabulary.h"

namespace arkit::text {

struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool single_word = false;             // not inside a longer word
  bool lstrip = false, rstrip = false;  // swallow the white space around
  bool normalized = false;              // looked for after normalization
  bool special = false;                 // left out by decode(skip_special_tokens)
};

// Finds added tokens, leftmost and longest first.
class AddedTokenFinder {
 public:
  AddedTokenFinder() : children_(16) {}
  // `content` is what to look for: the token's own, or its normalized form. An empty one is never found.
  void add(std::string_view content, const AddedToken& token);
  void finish();  // after the last add

  // Calls text_sink(begin, end) for what lies between tokens and token_sink(id) for each token, in order.
  void cut(std::string_view text, Effort& effort, const std::function<void(size_t begin, size_t end)>& text_sink,
           const std::function<void(int32_t id)>& token_sink) const;

 private:
  struct Pattern {
    int32_t id;
    bool single_word, lstrip, rstrip;
  };
  struct Match {
    const Pattern* pattern = nullptr;
    size_t end = 0;
  };
  [[nodiscard]] Match longest_at(std::string_view text, size_t begin, Effort& effort) const;

  // A trie over bytes. Node 0 is the root; edges go into `edges_` while adding and into the flat `children_` at the
  // end.
  std::vector<int32_t> pattern_of_node_{-1};
  std::unordered_map<uint64_t, int32_t> edges_;
  PairTable children_;
  std::vector<Pattern> patterns_;
  size_t bytes_ = 0;
  bool starts_[256] = {};
};

}  // namespace arkit::text
