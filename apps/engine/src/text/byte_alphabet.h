#pragma once
// GPT-2's byte alphabet: every byte as a printable character, so that byte strings can be JSON keys. Bytes 33..126,
// 161..172 and 174..255 stand for themselves, the other 68, in ascending order, are U+0100, U+0101 ... (space is
// U+0120, newline U+010A).

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace arkit::text {

constexpr std::array<uint16_t, 256> byte_alphabet() {
  std::array<uint16_t, 256> codes{};
  uint16_t next = 0x100;
  for (uint16_t byte = 0; byte < 256; ++byte) {
    const bool itself = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    codes[byte] = itself ? byte : next++;
  }
  return codes;
}

// Appends the printable form of `bytes`.
void append_printable_bytes(std::string& out, std::string_view bytes);

// Appends the bytes `printable` stands for; false (and nothing appended) when a character is not in the alphabet.
[[nodiscard]] bool append_alphabet_bytes(std::string& out, std::string_view printable);

}  // namespace arkit::text
