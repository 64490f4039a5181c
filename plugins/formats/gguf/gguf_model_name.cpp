#include "gguf_model_name.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <vector>

#include <arkit/str.h>

namespace arkit::gguf {
namespace {

constexpr std::string_view kUnits = "KMBT";

bool is_a_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_a_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool one_of(std::string_view word, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

// Takes "12", or "12.5" with one of `points` between, off the front; its length, 0 = there is none.
size_t take_decimal(std::string_view& text, std::string_view points, bool many) {
  size_t at = 0;
  const auto digits = [&] {
    const size_t first = at;
    while (at < text.size() && is_a_digit(text[at])) ++at;
    return at > first;
  };
  if (!digits()) return 0;
  size_t end = at;
  while (at < text.size() && points.find(text[at]) != std::string_view::npos) {
    ++at;
    if (!digits()) break;
    end = at;
    if (!many) break;
  }
  text.remove_prefix(end);
  return end;
}

// "v0.2", "iter35", "1.5".
bool is_version(std::string_view low) {
  if (low.starts_with("iter"))
    low.remove_prefix(4);
  else if (low.starts_with("v"))
    low.remove_prefix(1);
  return take_decimal(low, ".", true) > 0 && low.empty();
}

// "q4_k_m", "iq2_xxs", "bf16", "fp16".
bool is_type(std::string_view low) {
  if (one_of(low, {"f16", "f32", "fp16", "fp32", "bf16", "bf32", "bfp16", "bfp32"})) return true;
  if (low.starts_with("i")) low.remove_prefix(1);
  if (low.size() < 2 || low[0] != 'q' || !is_a_digit(low[1])) return false;
  low.remove_prefix(2);
  return low.empty() || (low.size() > 1 && low[0] == '_' && std::all_of(low.begin(), low.end(), [](char c) {
                           return c == '_' || is_a_digit(c) || is_a_letter(c);
                         }));
}

// "135M", "0.5b", "8x7B", "A3B"; a digit may follow, as in "1B5".
bool is_numbered_size(std::string_view low) {
  if (low.starts_with("a")) {
    low.remove_prefix(1);
  } else {
    const size_t times = low.find('x');
    if (times != std::string_view::npos && times > 0 &&
        std::all_of(low.begin(), low.begin() + static_cast<std::ptrdiff_t>(times), is_a_digit))
      low.remove_prefix(times + 1);
  }
  if (take_decimal(low, "._", false) == 0 || low.empty()) return false;
  if (lower(kUnits).find(low[0]) == std::string::npos) return false;
  low.remove_prefix(1);
  return std::all_of(low.begin(), low.end(), is_a_digit);
}

bool is_worded_size(std::string_view low) {
  return one_of(low, {"small", "mini", "medium", "large", "xl", "xxl"});
}

// What a plain size says: 135M -> 135e6; 0 = one of experts, which says less.
double weights_of(std::string_view low) {
  double number = 0;
  const auto [rest, error] = std::from_chars(low.data(), low.data() + low.size(), number);
  if (error != std::errc() || rest + 1 != low.data() + low.size()) return 0;
  const size_t unit = lower(kUnits).find(*rest);
  return unit == std::string::npos ? 0 : number * std::pow(1000.0, static_cast<double>(unit + 1));
}

// "0_5b" -> "0.5B".
std::string tidy_size(std::string_view part) {
  std::string size(part);
  for (char& c : size) {
    if (c == '_') c = '.';
    if (kUnits.find(static_cast<char>(std::toupper(static_cast<unsigned char>(c)))) != std::string_view::npos)
      c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return size;
}

enum class PieceRole { none, base, size, finetune, version, type };

struct Piece {
  std::string text;
  PieceRole role = PieceRole::none;
};

PieceRole role_of(const std::string& part, bool first, int64_t parameters) {
  const std::string low = lower(part);
  if (is_version(low)) return PieceRole::version;
  if (is_type(low)) return PieceRole::type;
  if (first) return PieceRole::none;
  if (is_numbered_size(low)) {
    const double named = weights_of(lower(tidy_size(part)));
    const auto real = static_cast<double>(parameters);
    return named > 0 && real > 0 && std::fabs(real - named) > 7.0 / 8.0 * real ? PieceRole::finetune : PieceRole::size;
  }
  if (is_worded_size(low)) return PieceRole::size;
  return one_of(low, {"chat", "instruct", "vision", "lora"}) ? PieceRole::finetune : PieceRole::none;
}

void append_part(std::string& to, const std::string& text) {
  if (!text.empty()) to += (to.empty() ? "" : "-") + text;
}

}  // namespace

NameParts parse_model_name(std::string_view name, int64_t parameters) {
  std::vector<Piece> parts;
  for (std::string& text : split(name, '-'))
    if (!text.empty()) parts.push_back({std::move(text)});
  for (size_t i = 0; i < parts.size(); ++i) parts[i].role = role_of(parts[i].text, i == 0, parameters);
  // Words for sizes count where no number says it.
  const bool numbered = std::any_of(parts.begin(), parts.end(), [](const Piece& part) {
    return part.role == PieceRole::size && is_numbered_size(lower(part.text));
  });
  for (Piece& part : parts)
    if (numbered && part.role == PieceRole::size && is_worded_size(lower(part.text))) part.role = PieceRole::none;

  // What comes first and is nothing else, versions among it, is the base; a version at the end of the name is none.
  size_t base = 0;
  while (base < parts.size() && (parts[base].role == PieceRole::version ||
                                 (parts[base].role == PieceRole::none && is_a_letter(parts[base].text.front()))))
    ++base;
  if (base == parts.size())
    while (base > 0 && parts[base - 1].role == PieceRole::version) --base;

  NameParts out;
  for (size_t i = 0; i < parts.size(); ++i) {
    const Piece& part = parts[i];
    if (i < base)
      append_part(out.basename, part.text);
    else if (part.role == PieceRole::size)
      append_part(out.size_label, tidy_size(part.text));
    else if (part.role == PieceRole::version)
      append_part(out.version, part.text);
    else if (part.role != PieceRole::type)
      append_part(out.finetune, part.text);
  }
  if (out.size_label.empty() && out.finetune.empty() && out.version.empty()) out.basename.clear();
  return out;
}

std::string size_label(int64_t parameters) {
  auto value = static_cast<double>(parameters);
  const char* unit = "K";
  value /= 1e3;
  for (const char* next : {"M", "B", "T"}) {
    if (value <= 1e3) break;
    value /= 1e3;
    unit = next;
  }
  const auto whole = static_cast<int>(std::to_string(std::llround(value)).size());
  char text[32];
  std::snprintf(text, sizeof(text), "%.*f%s", std::max(0, 2 - whole), value, unit);
  return text;
}

std::string file_stem(std::string_view name, int64_t parameters) {
  const NameParts parts = parse_model_name(name, parameters);
  std::string stem(parts.basename.empty() ? name : parts.basename);
  for (char& c : stem)
    if (c == ' ' || c == '/') c = '-';
  append_part(stem, parts.size_label.empty() ? size_label(parameters) : parts.size_label);
  append_part(stem, parts.finetune);
  append_part(stem, parts.version);
  return stem;
}

std::string without_type(std::string name) {
  const size_t end = name.find_last_of(".-");
  if (end != std::string::npos && end > 0 && is_type(lower(name.substr(end + 1)))) name.resize(end);
  return name;
}

}  // namespace arkit::gguf
