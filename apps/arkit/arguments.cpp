#include "arguments.h"

#include <charconv>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::cli {

std::string Arguments::positional(size_t index) const {
  return index < parsed_.positionals.size() ? parsed_.positionals[index] : std::string();
}

bool Arguments::given(std::string_view name) const {
  return parsed_.values.contains(name);
}

bool Arguments::flag(std::string_view name) const {
  const auto it = parsed_.values.find(name);
  return it != parsed_.values.end() && it->second.front() == "true";
}

std::optional<bool> Arguments::either(std::string_view yes, std::string_view no) const {
  if (given(yes)) return flag(yes);
  if (given(no)) return !flag(no);
  return std::nullopt;
}

std::optional<std::string> Arguments::text(std::string_view name) const {
  const auto it = parsed_.values.find(name);
  return it == parsed_.values.end() ? std::nullopt : std::optional<std::string>(it->second.front());
}

std::vector<std::string> Arguments::texts(std::string_view name) const {
  const auto it = parsed_.values.find(name);
  return it == parsed_.values.end() ? std::vector<std::string>() : it->second;
}

std::optional<int64_t> Arguments::integer(std::string_view name) const {
  const std::optional<std::string> given = text(name);
  if (!given) return std::nullopt;
  int64_t value = 0;
  std::from_chars(given->data(), given->data() + given->size(), value);
  return value;
}

std::optional<double> Arguments::number(std::string_view name) const {
  const std::optional<std::string> given = text(name);
  if (!given) return std::nullopt;
  double value = 0;
  std::from_chars(given->data(), given->data() + given->size(), value);
  return value;
}

std::optional<int64_t> Arguments::bytes(std::string_view name) const {
  const std::optional<std::string> given = text(name);
  if (!given) return std::nullopt;
  const size_t digits = std::min(given->find_first_not_of("0123456789."), given->size());
  const std::string unit = lower(given->substr(digits));
  const int64_t step = unit.ends_with("ib") ? 1024 : 1000;
  const std::string_view prefixes = " kmg";
  int64_t factor = 1;
  for (size_t i = unit.empty() ? 0 : prefixes.find(unit.front()); i > 0; --i) factor *= step;
  if (given->find('.') == std::string::npos) {
    int64_t value = 0;
    std::from_chars(given->data(), given->data() + digits, value);
    return checked_mul(value, factor, str("--", name));
  }
  double value = 0;
  std::from_chars(given->data(), given->data() + digits, value);
  if (value * static_cast<double>(factor) >= 9e18) throw_usage(str("--", name, ": ", *given, " is too large"));
  return static_cast<int64_t>(value * static_cast<double>(factor));
}

}  // namespace arkit::cli
