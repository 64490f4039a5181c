#include <arkit/escape.h>

#include <algorithm>
#include <cstdio>

#include <arkit/str.h>

#include "util/code_points.h"

namespace arkit {
namespace util {

Decoded decode_utf8(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) -> uint32_t {
    return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0U;
  };
  const uint32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1, true};
  const size_t length = lead >= 0xF0 && lead <= 0xF4  ? 4
                        : lead >= 0xE0 && lead < 0xF0 ? 3
                        : lead >= 0xC2 && lead < 0xE0 ? 2
                                                      : 0;
  if (length == 0) return {lead, 1, false};
  uint32_t code = lead & (0x7FU >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {lead, 1, false};
    code = code << 6 | (byte(i) & 0x3F);
  }
  const uint32_t least = length == 4 ? 0x10000 : length == 3 ? 0x800 : 0x80;
  if (code < least || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return {lead, 1, false};
  return {code, length, true};
}

std::string_view escape_sequence(const Decoded& character, char (&buffer)[16]) {
  const char* const format = !character.valid || character.code < 0x80 ? "\\x%02x"
                             : character.code < 0x10000                ? "\\u%04x"
                                                                       : "\\U%08x";
  const int length = std::snprintf(buffer, sizeof buffer, format, character.code);
  return {buffer, static_cast<size_t>(length)};
}

}  // namespace util

namespace {

// The longest run of a character.
size_t longest_run(std::string_view text, char wanted) {
  size_t longest = 0, run = 0;
  for (const char c : text) {
    run = c == wanted ? run + 1 : 0;
    longest = std::max(longest, run);
  }
  return longest;
}

std::string one_line(std::string_view text) {
  return printable(text, std::string::npos);
}

}  // namespace

std::string escape_terminal(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  char buffer[16];
  for (size_t at = 0; at < text.size();) {
    const util::Decoded c = util::decode_utf8(text, at);
    const bool shown = c.valid && (c.code == '\n' || c.code == '\t' || !util::is_control(c.code));
    out += shown ? text.substr(at, c.length) : util::escape_sequence(c, buffer);
    at += c.length;
  }
  return out;
}

std::string escape_json(std::string_view document) {
  std::string out;
  out.reserve(document.size());
  char buffer[16];
  for (size_t at = 0; at < document.size();) {
    const util::Decoded c = util::decode_utf8(document, at);
    if (!c.valid) {
      out += "\\ufffd";
    } else if (c.code < 0x7F || !util::is_control(c.code)) {
      out += document.substr(at, c.length);  // the writer has escaped C0 inside strings; outside it is layout
    } else if (c.code < 0x10000) {
      std::snprintf(buffer, sizeof buffer, "\\u%04x", c.code);
      out += buffer;
    } else {
      std::snprintf(buffer, sizeof buffer, "\\u%04x\\u%04x", 0xD7C0 + (c.code >> 10), 0xDC00 + (c.code & 0x3FF));
      out += buffer;
    }
    at += c.length;
  }
  return out;
}

std::string yaml_scalar(std::string_view text) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("._/-+").find(c) != std::string_view::npos;
  };
  // Words of letters alone and names with one: "yes", "null", "1.0" and "1e5" would be read as something else.
  static constexpr std::string_view kWords[] = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"};
  const bool word =
      std::any_of(std::begin(kWords), std::end(kWords), [&](std::string_view other) { return lower(text) == other; });
  const bool letter = !text.empty() && ((text[0] >= 'a' && text[0] <= 'z') || (text[0] >= 'A' && text[0] <= 'Z'));
  if (letter && !word && std::all_of(text.begin(), text.end(), plain)) return std::string(text);
  std::string out = "\"";
  for (const char c : one_line(text)) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

std::string markdown_text(std::string_view text) {
  std::string out;
  for (const char c : one_line(text)) {
    if (std::string_view("\\`*[]<>|!&#").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

std::string markdown_code(std::string_view text) {
  const std::string shown = one_line(text);
  const size_t run = longest_run(shown, '`');
  const std::string fence(run + 1, '`');
  const std::string_view blank = run > 0 ? " " : "";
  return str(fence, blank, shown, blank, fence);
}

std::string markdown_block(std::string_view text) {
  const std::string fence(std::max<size_t>(3, longest_run(text, '`') + 1), '`');
  return str(fence, "\n", escape_terminal(text), "\n", fence, "\n");
}

}  // namespace arkit
