#pragma once
// Small text helpers for messages: `str(a, b, ...)` concatenates anything that streams, `nearest` finds the name a user
// meant.

#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/export.h>

namespace arkit {

// Concatenates the streamed form of every argument.
template <typename... Args>
[[nodiscard]] std::string str(const Args&... args) {
  std::ostringstream out;
  (out << ... << args);
  return std::move(out).str();
}

// "'a', 'b', 'c'": names quoted and separated by ", ".
[[nodiscard]] ARKIT_EXPORT std::string quoted_list(std::span<const std::string> names);

// The candidate with the smallest edit distance to `given` when that is close enough to be a slip (at most a third of
// its length, at least 1), else an empty string. Comparison ignores case.
[[nodiscard]] ARKIT_EXPORT std::string nearest(std::string_view given, std::span<const std::string> candidates);

// "unknown <what> '<given>'; did you mean '<nearest>'? (<hint>)", or without the question when nothing is near.
[[nodiscard]] ARKIT_EXPORT std::string unknown_name(std::string_view what, std::string_view given,
                                                    std::span<const std::string> candidates, std::string_view hint);

// ASCII lower case.
[[nodiscard]] ARKIT_EXPORT std::string lower(std::string_view text);

// Splits at every `separator`; empty parts are kept, an empty text gives no parts.
[[nodiscard]] ARKIT_EXPORT std::vector<std::string> split(std::string_view text, char separator);

// Text from a file with control characters written as \xNN, cut to `max_length`, so that hostile names cannot fool a
// terminal.
[[nodiscard]] ARKIT_EXPORT std::string printable(std::string_view text, size_t max_length = 200);

}  // namespace arkit
