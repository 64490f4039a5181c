#pragma once
// UTF-8 of unknown origin, character by character. Without the tables of text/unicode.h: the front of the command line
// is linked with this and no more.

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace arkit::util {

struct Decoded {
  uint32_t code = 0;
  size_t length = 1;
  bool valid = true;  // false: one byte that belongs to no character, `code` is its value
};

// The character that begins at text[at].
[[nodiscard]] Decoded decode_utf8(std::string_view text, size_t at);

// Would a terminal do something else than show it? Control characters, line separators, bidirectional controls, tags.
[[nodiscard]] constexpr bool is_control(uint32_t code) {
  return code < 0x20 || (code >= 0x7F && code < 0xA0) || code == 0x61C || code == 0x200E || code == 0x200F ||
         (code >= 0x2028 && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069) || code == 0xFEFF ||
         (code >= 0xFFF9 && code <= 0xFFFB) || (code >= 0xE0000 && code <= 0xE007F);
}

// "\x1b", "\u202e", "\U000e0001": as Python writes them.
[[nodiscard]] std::string_view escape_sequence(const Decoded& character, char (&buffer)[16]);

}  // namespace arkit::util
