#pragma once
// What a Split pre-tokenizer or a Replace normalizer looks for: a literal string, one of the well-known
// pre-tokenization regexes (own scanners, docs/spec/tokenizers.md 3) or any other regular expression (PCRE2).

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <arkit/export.h>

namespace arkit::text {

// Called with [begin, end) of each match, from left to right, without overlaps; matches are never empty.
using MatchSink = std::function<void(size_t begin, size_t end)>;

class ARKIT_EXPORT Pattern {
 public:
  virtual ~Pattern();
  // `text` is valid UTF-8. [thread-safe]
  virtual void for_each_match(std::string_view text, const MatchSink& sink) const = 0;
};

// Throws ErrorCode::input for an empty string.
[[nodiscard]] ARKIT_EXPORT std::unique_ptr<Pattern> literal_pattern(std::string literal);

// A scanner for the regexes of pretokenizer_patterns.h, else the PCRE2 pattern. `what` names the component in errors.
[[nodiscard]] ARKIT_EXPORT std::unique_ptr<Pattern> regex_pattern(const std::string& regex, std::string_view what);

// The two halves of regex_pattern, apart so that tests can compare them. scanner_pattern gives null for other regexes.
[[nodiscard]] ARKIT_EXPORT std::unique_ptr<Pattern> scanner_pattern(std::string_view regex);
[[nodiscard]] ARKIT_EXPORT std::unique_ptr<Pattern> pcre_pattern(const std::string& regex, std::string_view what);

}  // namespace arkit::text
