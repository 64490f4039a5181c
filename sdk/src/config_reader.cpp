#include <arkit/sdk/config_reader.h>

#include <cmath>
#include <utility>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::sdk {

ConfigReader::ConfigReader(const json::Object& config, std::string what) : config_(config), what_(std::move(what)) {}

int64_t ConfigReader::positive(std::string_view key, std::optional<int64_t> fallback, int64_t limit) const {
  const std::optional<int64_t> given = optional_positive(key, limit);
  if (given) return *given;
  if (!fallback) throw_input(str(what_, ": '", key, "' is missing; expected a number from 1 to ", limit));
  return *fallback;
}

std::optional<int64_t> ConfigReader::optional_positive(std::string_view key, int64_t limit) const {
  const std::optional<int64_t> given = json::get_int(config_, key, what_);
  if (given && (*given < 1 || *given > limit))
    throw_input(str(what_, ": '", key, "' is ", *given, "; expected a number from 1 to ", limit));
  return given;
}

double ConfigReader::number(std::string_view key, double fallback, double least, double most) const {
  const double value = json::get_double(config_, key, what_).value_or(fallback);
  if (!(value >= least && value <= most))
    throw_input(str(what_, ": '", key, "' is ", value, "; expected a number from ", least, " to ", most));
  return value;
}

bool ConfigReader::flag(std::string_view key, bool fallback) const {
  return json::get_bool(config_, key, what_).value_or(fallback);
}

std::string ConfigReader::text(std::string_view key, std::string_view fallback) const {
  return json::get_string(config_, key, what_).value_or(std::string(fallback));
}

std::optional<std::vector<std::string>> ConfigReader::texts(std::string_view key) const {
  const json::Value* value = json::find(config_, key);
  if (value == nullptr) return std::nullopt;
  std::vector<std::string> out;
  for (const json::Value& item : json::as_array(*value, str(what_, ": '", key, "'"))) {
    if (!item.is_string()) throw_input(str(what_, ": '", key, "' holds something that is not a string"));
    out.emplace_back(item.get_string().c_str());
  }
  return out;
}

}  // namespace arkit::sdk
