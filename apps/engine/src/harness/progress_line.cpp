#include "harness/progress_line.h"

#include <charconv>

#include <arkit/str.h>

namespace arkit::harness {
namespace {

std::optional<int64_t> number_at_end(std::string_view& text) {
  const size_t begin = text.find_last_not_of("0123456789") + 1;
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data() + begin, text.data() + text.size(), value);
  if (begin == text.size() || error != std::errc()) return std::nullopt;
  text.remove_suffix(text.size() - begin);
  return value;
}

}  // namespace

std::optional<DrawnProgress> progress_in(std::string_view line) {
  const size_t bar = line.find("%|"), count = line.rfind("| "), clock = line.find(" [", count);
  if (bar == std::string_view::npos || count == std::string_view::npos || count <= bar ||
      clock == std::string_view::npos)
    return std::nullopt;
  std::string_view counted = line.substr(count + 2, clock - count - 2), what = line.substr(0, bar);
  const auto total = number_at_end(counted);
  if (!total || !counted.ends_with('/')) return std::nullopt;
  counted.remove_suffix(1);
  const auto done = number_at_end(counted);
  if (!done || counted.find_first_not_of(' ') != std::string_view::npos || !number_at_end(what)) return std::nullopt;
  while (!what.empty() && (what.back() == ' ' || what.back() == ':')) what.remove_suffix(1);
  constexpr size_t kLongest = 60;
  return DrawnProgress{.what = printable(what, kLongest), .done = *done, .total = *total};
}

}  // namespace arkit::harness
