#include "options/option_checks.h"

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit {
namespace {

void check_number(const OptionRow& row, const auto& value) {
  if (!row.range.allows(static_cast<double>(value)))
    throw_usage(str(row.name, " ", value, " is out of range; expected ", row.range.expected));
}

}  // namespace

void check_ranges(const QuantizeOptions& options) {
  for (const OptionOf<QuantizeOptions>& one : option_table<QuantizeOptions>()) {
    if (one.row.range.allows == nullptr) continue;
    const OptionValue value = one.get(options);
    if (const auto* whole = std::get_if<int64_t>(&value)) check_number(one.row, *whole);
    if (const auto* number = std::get_if<double>(&value)) check_number(one.row, *number);
    if (const auto* numbers = std::get_if<std::vector<double>>(&value))
      for (const double number : *numbers) check_number(one.row, number);
  }
}

std::string changed_options(const QuantizeOptions& options, OptionNeeds needs) {
  const QuantizeOptions usual;
  std::string names;
  for (const OptionOf<QuantizeOptions>& one : option_table<QuantizeOptions>()) {
    if (one.row.needs != needs) continue;
    const OptionValue value = one.get(options);
    if (value == one.get(usual)) continue;
    const bool negated = !one.row.negation.empty() && value == OptionValue(false);
    names += str(names.empty() ? "--" : ", --", negated ? one.row.negation : one.row.name);
  }
  return names;
}

}  // namespace arkit
