#include "read_options.h"

#include <charconv>
#include <vector>

namespace arkit::cli {
namespace {

template <typename Value>
OptionValue from(const std::optional<Value>& given) {
  return given ? OptionValue(*given) : OptionValue();
}

// The choice that a synonym stands for.
std::string chosen(const OptionRow& row, const std::string& text) {
  for (const std::string& pair : split(row.synonyms, ' '))
    if (pair.starts_with(text + "=")) return pair.substr(text.size() + 1);
  return text;
}

// The front has looked at every word.
std::vector<double> numbers(const std::vector<std::string>& words) {
  std::vector<double> all;
  for (const std::string& word : words) {
    double value = 0;
    std::from_chars(word.data(), word.data() + word.size(), value);
    all.push_back(value);
  }
  return all;
}

std::vector<std::vector<std::string>> groups(const std::vector<std::string>& lists) {
  std::vector<std::vector<std::string>> all;
  for (const std::string& list : lists) all.push_back(split(list, ','));
  return all;
}

}  // namespace

OptionValue given_value(const OptionRow& row, const Arguments& arguments) {
  if (row.type == OptionType::flag && !row.negation.empty()) return from(arguments.either(row.name, row.negation));
  if (!arguments.given(row.name)) return {};
  switch (row.type) {
    case OptionType::flag:
      return arguments.flag(row.name);
    case OptionType::integer:
      return from(arguments.integer(row.name));
    case OptionType::number:
      return from(arguments.number(row.name));
    case OptionType::bytes:
      return from(arguments.bytes(row.name));
    case OptionType::text:
    case OptionType::path:
      return chosen(row, arguments.text(row.name).value_or(""));
    case OptionType::texts:
    case OptionType::list:
      return arguments.texts(row.name);
    case OptionType::numbers:
      return numbers(arguments.texts(row.name));
    case OptionType::groups:
      return groups(arguments.texts(row.name));
  }
  return {};
}

}  // namespace arkit::cli
