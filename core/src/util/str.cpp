#include <arkit/str.h>

#include <algorithm>

#include "util/code_points.h"

namespace arkit {
namespace {

// Edit distance over bytes where a swap of two neighbours counts once (optimal string alignment).
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1), above(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    std::swap(before, above);
    std::swap(above, row);
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], before[j - 2] + 1);
    }
  }
  return row[b.size()];
}

}  // namespace

std::string quoted_list(std::span<const std::string> names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "'" : ", '") + name + "'";
  return out;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

std::string nearest(std::string_view given, std::span<const std::string> candidates) {
  const std::string wanted = lower(given.substr(0, 256));
  size_t best = std::max<size_t>(1, wanted.size() / 3) + 1;
  std::string answer;
  for (const std::string& candidate : candidates) {
    const size_t distance = edit_distance(wanted, lower(candidate));
    if (distance < best) {
      best = distance;
      answer = candidate;
    }
  }
  return answer;
}

std::string unknown_name(std::string_view what, std::string_view given, std::span<const std::string> candidates,
                         std::string_view hint) {
  const std::string near = nearest(given, candidates);
  const std::string question = near.empty() ? std::string() : str("; did you mean '", near, "'?");
  return str("unknown ", what, " '", printable(given), "'", question, hint.empty() ? "" : " (", hint,
             hint.empty() ? "" : ")");
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  if (text.empty()) return parts;
  size_t begin = 0;
  for (size_t end = text.find(separator); end != std::string_view::npos; end = text.find(separator, begin)) {
    parts.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  parts.emplace_back(text.substr(begin));
  return parts;
}

std::string printable(std::string_view text, size_t max_length) {
  std::string out;
  char buffer[16];
  for (size_t at = 0; at < text.size();) {
    const util::Decoded c = util::decode_utf8(text, at);
    const bool shown = c.valid && !util::is_control(c.code);
    const std::string_view piece = shown ? text.substr(at, c.length) : util::escape_sequence(c, buffer);
    if (out.size() >= max_length || piece.size() > max_length - out.size()) return out + "...";
    out += piece;
    at += c.length;
  }
  return out;
}

}  // namespace arkit
