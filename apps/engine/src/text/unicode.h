#pragma once
// UTF-8 and the character classes of the Hugging Face tokenizers crate. Functions that take `text` expect valid UTF-8:
// repair_utf8 makes it so, once, at the door.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <arkit/export.h>

namespace arkit::text {

// Bits of class_of(): general categories as the crate's regular expressions see them, and its other notions of space
// and digit.
enum CharClass : uint16_t {
  kLu = 1 << 0,
  kLl = 1 << 1,
  kLt = 1 << 2,
  kLm = 1 << 3,
  kLo = 1 << 4,
  kMark = 1 << 5,
  kNumber = 1 << 6,  // \p{N}
  kPunct = 1 << 7,   // \p{P}
  kSymbol = 1 << 8,  // \p{S}
  kSpace = 1 << 9,   // \s, the same set as char::is_whitespace
  kDigit = 1 << 10,  // char::is_numeric, what the Digits pre-tokenizer splits on
  kWord = 1 << 11,   // \w
  kBertPunct = 1 << 12,
  kLetter = kLu | kLl | kLt | kLm | kLo
};

// Classes of every code point in two stages: pages[code >> 8][code & 255].
struct ClassTable {
  const uint16_t* pages[0x1100];
  [[nodiscard]] uint16_t operator[](uint32_t code) const { return pages[code >> 8][code & 255]; }
};
[[nodiscard]] const ClassTable& class_table();

struct CodePoint {
  uint32_t code = 0;
  uint32_t length = 0;  // bytes
};

// The code point that begins at text[at]; at < text.size(), valid UTF-8.
[[nodiscard]] inline CodePoint code_point_at(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<unsigned char>(text[at + i])); };
  const uint32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xE0) return {(lead & 0x1F) << 6 | (byte(1) & 0x3F), 2};
  if (lead < 0xF0) return {(lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F), 3};
  return {(lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F), 4};
}

// Where the code point that ends before `at` begins; at > 0.
[[nodiscard]] inline size_t previous_code_point(std::string_view text, size_t at) {
  do --at;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80);
  return at;
}

void append_utf8(std::string& out, uint32_t code);

// Length of the longest valid UTF-8 prefix.
[[nodiscard]] size_t valid_utf8_prefix(std::string_view text);

// Every maximal invalid sequence becomes one U+FFFD, as Rust's from_utf8_lossy and Python's errors="replace" do.
[[nodiscard]] std::string repair_utf8(std::string_view text);

// Canonical normal forms and the character-wise lower case.
[[nodiscard]] ARKIT_EXPORT std::string to_nfc(std::string_view text);
[[nodiscard]] ARKIT_EXPORT std::string to_nfd(std::string_view text);
[[nodiscard]] ARKIT_EXPORT std::string to_lower(std::string_view text);
// The capital of one letter; itself when there is none of one character.
[[nodiscard]] uint32_t to_upper(uint32_t code);

}  // namespace arkit::text
