#pragma once
// Tokens of an output become text as they come, up to a stop text: the one place where both is decided.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/engine/tokenizer.h>
#include <arkit/export.h>

namespace arkit::text {

// Throws ErrorCode::usage for one that is empty or no UTF-8.
ARKIT_EXPORT void check_stop_texts(std::span<const std::string> stops);

// What push() and finish() return is, one behind the other, what Tokenizer::decode gives for all tokens, cut before the
// first stop text. A character whose last bytes are still to come, and what may be the beginning of a stop text, are
// held back. (Bytes that are no text may become fewer or more U+FFFD than in one go.)
class ARKIT_EXPORT TextStream {
 public:
  // The tokenizer outlives it. Stop texts as check_stop_texts takes them. Special tokens are no text unless wished for.
  TextStream(const Tokenizer& tokenizer, std::vector<std::string> stops, bool special_tokens = false);

  // Text that is certain now; whole characters, often none. After a stop text: none.
  [[nodiscard]] std::string push(int64_t token);
  // The rest, when no more tokens come.
  [[nodiscard]] std::string finish();
  [[nodiscard]] bool stopped() const { return stopped_; }          // by a stop text
  [[nodiscard]] const std::string& text() const { return text_; }  // all that was returned

 private:
  [[nodiscard]] std::string decoded(bool all);
  [[nodiscard]] std::string certain(std::string_view more, bool all);

  const Tokenizer& tokenizer_;
  std::vector<std::string> stops_;
  bool special_tokens_;
  // Tokens since `begin_` are decoded together, because a token alone may read otherwise; those before `done_` were.
  std::vector<int64_t> tokens_;
  size_t begin_ = 0, done_ = 0;
  std::string held_;  // may begin a stop text
  std::string text_;
  bool stopped_ = false;
};

}  // namespace arkit::text
