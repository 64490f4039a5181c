#include "arguments.h"

#include <charconv>
#include <climits>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::cli {

std::string Arguments::positional(size_t index) const {
  return index < parsed_.positionals.size() ? parsed_.positionals[index] : std::string();
}

bool Arguments::flag(std::string_view name) const {
  return parsed_.values.contains(name);
}

std::optional<bool> Arguments::either(std::string_view yes, std::string_view no) const {
  if (flag(yes)) return true;
  if (flag(no)) return false;
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

std::optional<int> Arguments::small_integer(std::string_view name) const {
  const std::optional<int64_t> value = integer(name);
  if (!value) return std::nullopt;
  if (*value < INT_MIN || *value > INT_MAX) throw_usage(str("--", name, ": ", *value, " is out of range"));
  return static_cast<int>(*value);
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
  int64_t value = 0;
  const auto [rest, error] = std::from_chars(given->data(), given->data() + given->size(), value);
  const std::string unit = lower(std::string_view(rest, static_cast<size_t>(given->data() + given->size() - rest)));
  const int64_t factor = unit == "gb" ? 1'000'000'000 : unit == "mb" ? 1'000'000 : unit == "kb" ? 1'000 : 1;
  return checked_mul(value, factor, "--max_shard_size");
}

}  // namespace arkit::cli
