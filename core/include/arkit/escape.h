#pragma once
// Text from files, models and plugins on its way to a terminal or into a file that a program renders. `printable`
// (str.h) is for names inside messages; these are for whole outputs, at the one place where they leave.

#include <string>
#include <string_view>

#include <arkit/export.h>

namespace arkit {

// `text` for a terminal: control characters (C0 except line ends and tabs, C1), bidirectional controls and invalid
// UTF-8 become \x1b, \u202e and the like. Escaping twice is escaping once.
[[nodiscard]] ARKIT_EXPORT std::string escape_terminal(std::string_view text);

// A JSON document with the same characters as \uXXXX inside its strings, and U+FFFD for invalid UTF-8.
[[nodiscard]] ARKIT_EXPORT std::string escape_json(std::string_view document);

// A YAML scalar on one line: plain where that is safe, else in double quotes.
[[nodiscard]] ARKIT_EXPORT std::string yaml_scalar(std::string_view text);

// Text in a line of Markdown that is neither markup nor HTML, and text in `code`.
[[nodiscard]] ARKIT_EXPORT std::string markdown_text(std::string_view text);
[[nodiscard]] ARKIT_EXPORT std::string markdown_code(std::string_view text);

// Lines of text as a fenced block that nothing in them can end.
[[nodiscard]] ARKIT_EXPORT std::string markdown_block(std::string_view text);

}  // namespace arkit
