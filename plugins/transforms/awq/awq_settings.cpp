#include "awq_settings.h"

#include <algorithm>
#include <string>
#include <vector>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::awq {
namespace {

constexpr int64_t kMost = 1000;

int64_t number(std::string_view name, const json::Value& value, int64_t least) {
  if (!value.is_int64() || value.get_int64() < least || value.get_int64() > kMost)
    throw_usage(
        str("awq: '", name, "' is ", json::dump(value), ", expected a whole number from ", least, " to ", kMost));
  return value.get_int64();
}

Duo duo(const json::Value& value) {
  if (value.is_bool()) return value.get_bool() ? Duo::on : Duo::off;
  if (value.is_string() && value.get_string() == "both") return Duo::both;
  throw_usage(str("awq: 'duo_scaling' is ", json::dump(value), ", expected true, false or \"both\""));
}

}  // namespace

Settings read_settings(const json::Object& given) {
  Settings settings;
  for (const auto& member : given) {
    const std::string name(member.key());
    if (name == "n_grid")
      settings.n_grid = number(name, member.value(), 3);
    else if (name == "duo_scaling")
      settings.duo = duo(member.value());
    else if (name == "nsamples")
      settings.nsamples = number(name, member.value(), 1);
    else
      throw_usage(unknown_name("awq setting", name, std::vector<std::string>{"n_grid", "duo_scaling", "nsamples"},
                               "expected n_grid, duo_scaling or nsamples"));
  }
  return settings;
}

json::Object to_json(const Settings& settings) {
  const json::Value duo = settings.duo == Duo::both ? json::Value("both") : json::Value(settings.duo == Duo::on);
  return {{"n_grid", settings.n_grid}, {"duo_scaling", duo}, {"nsamples", settings.nsamples}};
}

}  // namespace arkit::awq
