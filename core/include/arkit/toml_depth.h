#pragma once
// The TOML parser bounds nested arrays and inline tables, but a.a.a.a = 1 nests one table a dot, and its tables are
// made and destroyed by recursion: 120,000 dots end the process. Header only: the front of the command line has no
// core.

#include <cstddef>
#include <string>
#include <string_view>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::util {

// Where a string that begins at text[at] with its quote ends: past its closing quotes, or the end of the text.
inline size_t toml_string_end(std::string_view text, size_t at) {
  const char quote = text[at];
  const std::string three(3, quote);
  const bool lines = text.substr(at, 3) == three;
  for (size_t i = at + (lines ? 3 : 1); i < text.size(); ++i) {
    if (text[i] == '\\' && quote == '"')
      ++i;
    else if (lines ? text.substr(i, 3) == three : text[i] == quote || text[i] == '\n')
      return i + (lines ? 3 : 1);
  }
  return text.size();
}

// Throws ErrorCode::input when a dotted key has more than 64 parts. `what` names the text.
inline void refuse_deep_keys(std::string_view text, std::string_view what) {
  constexpr size_t kMaxDots = 64;
  size_t dots = 0;
  for (size_t at = 0; at < text.size();) {
    const char c = text[at];
    if (c == '"' || c == '\'') {
      at = toml_string_end(text, at);
      continue;
    }
    if (c == '#') {
      at = text.find('\n', at);
      if (at == std::string_view::npos) return;
      continue;
    }
    const bool key = c == '_' || c == '-' || c == ' ' || c == '\t' || (c >= '0' && c <= '9') ||
                     (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (c == '.')
      ++dots;
    else if (!key)
      dots = 0;
    if (dots > kMaxDots) throw_input(str(what, ": a key has more than ", kMaxDots, " parts with dots between them"));
    ++at;
  }
}

}  // namespace arkit::util
