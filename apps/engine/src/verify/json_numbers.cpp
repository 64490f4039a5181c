#include "verify/json_numbers.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <vector>

namespace arkit {
namespace {

struct Level {
  bool object = false;
  std::string path;   // of the level itself
  std::string key;    // of the member being read
  int64_t index = 0;  // of the item being read
};

std::string path_of(const Level& level) {
  if (!level.object) return level.path + "[" + std::to_string(level.index) + "]";
  return level.path.empty() ? level.key : level.path + "." + level.key;
}

// From the quote at `at` to behind the closing one.
size_t end_of_string(std::string_view text, size_t at) {
  for (++at; at < text.size() && text[at] != '"'; ++at)
    if (text[at] == '\\') ++at;
  return std::min(at + 1, text.size());
}

bool is_integer(const std::string& number) {
  const size_t begin = number.starts_with("-") ? 1 : 0;
  return number.size() > begin && number.find_first_not_of("0123456789", begin) == std::string::npos;
}

}  // namespace

std::map<std::string, std::string> json_numbers(std::string_view text) {
  std::map<std::string, std::string> numbers;
  std::vector<Level> levels;
  bool after_colon = false;
  for (size_t i = 0; i < text.size();) {
    const char c = text[i];
    if (c == '{' || c == '[') {
      levels.push_back({c == '{', levels.empty() ? std::string() : path_of(levels.back()), {}, 0});
      after_colon = false;
      ++i;
    } else if (c == '}' || c == ']') {
      if (!levels.empty()) levels.pop_back();
      after_colon = false;
      ++i;
    } else if (c == '"') {
      const size_t end = end_of_string(text, i);
      if (!levels.empty() && levels.back().object && !after_colon)
        levels.back().key = std::string(text.substr(i + 1, end - i - 2));
      i = end;
    } else if (c == ':') {
      after_colon = true;
      ++i;
    } else if (c == ',') {
      if (!levels.empty()) ++levels.back().index;
      after_colon = false;
      ++i;
    } else if (c == '-' || (c >= '0' && c <= '9') || c == 'N' || c == 'I') {
      const size_t end = std::min(text.find_first_of(",]} \t\r\n", i), text.size());
      if (!levels.empty()) numbers[path_of(levels.back())] = std::string(text.substr(i, end - i));
      i = end;
    } else {
      ++i;
    }
  }
  return numbers;
}

bool same_number(const std::string& a, const std::string& b) {
  if (a == b) return true;
  if (is_integer(a) && is_integer(b)) return false;
  const double x = std::strtod(a.c_str(), nullptr), y = std::strtod(b.c_str(), nullptr);
  constexpr double kExact = 9007199254740992.0;  // 2^53: from here on not every integer is a double
  if ((is_integer(a) || is_integer(b)) && std::abs(x) > kExact) return false;
  return x == y || (std::isnan(x) && std::isnan(y));
}

}  // namespace arkit
