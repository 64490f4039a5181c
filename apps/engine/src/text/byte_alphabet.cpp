#include "text/byte_alphabet.h"

#include "text/unicode.h"

namespace arkit::text {
namespace {

constexpr std::array<uint16_t, 256> kAlphabet = byte_alphabet();

// Character -> byte, -1 = not in the alphabet.
constexpr auto kBytes = [] {
  std::array<int16_t, 0x100 + 68> bytes{};
  for (auto& byte : bytes) byte = -1;
  for (size_t byte = 0; byte < 256; ++byte) bytes[kAlphabet[byte]] = static_cast<int16_t>(byte);
  return bytes;
}();

}  // namespace

void append_printable_bytes(std::string& out, std::string_view bytes) {
  for (const char c : bytes) append_utf8(out, kAlphabet[static_cast<unsigned char>(c)]);
}

bool append_alphabet_bytes(std::string& out, std::string_view printable) {
  const size_t before = out.size();
  for (size_t at = 0; at < printable.size();) {
    const CodePoint c = code_point_at(printable, at);
    if (c.code >= kBytes.size() || kBytes[c.code] < 0) {
      out.resize(before);
      return false;
    }
    out += static_cast<char>(kBytes[c.code]);
    at += c.length;
  }
  return true;
}

}  // namespace arkit::text
