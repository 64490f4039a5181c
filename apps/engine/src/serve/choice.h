#pragma once
// One answer to one prompt, as it grows.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <arkit/engine/session.h>

#include "text/text_stream.h"

namespace arkit::serve {

// Tokens with scores, and where each begins in the text that is answered, in characters.
struct ScoredText {
  std::vector<ScoredToken> tokens;
  std::vector<int64_t> offsets;
};

struct Choice {
  explicit Choice(text::TextStream written) : stream(std::move(written)) {}

  text::TextStream stream;
  std::optional<text::TextStream> unstopped;  // the same but for stop texts: where tokens begin, if that is asked for
  std::string fresh;                          // text that nobody was given yet
  ScoredText scored;                          // the same of new tokens, where scores are asked for
  std::vector<ScoredToken> prompt;
  int64_t new_tokens = 0;
  int64_t place = 0;          // characters of `unstopped` so far
  std::string_view ended_by;  // "stop", "length"; empty = it goes on
  bool given_end = false;
};

// Characters of a UTF-8 text.
[[nodiscard]] int64_t characters(std::string_view text);

}  // namespace arkit::serve
