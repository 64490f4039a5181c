#include "options/option_json.h"

#include <algorithm>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit {
namespace {

struct ToJson {
  const OptionRow& row;

  json::Value operator()(std::monostate) const { return nullptr; }
  json::Value operator()(bool flag) const { return flag; }
  json::Value operator()(int64_t number) const { return number; }
  json::Value operator()(double number) const { return number; }
  json::Value operator()(const std::string& text) const {
    return text.empty() && !row.shown_empty ? json::Value() : json::Value(text);
  }
  json::Value operator()(const std::vector<std::string>& texts) const {
    json::Array array;
    for (const std::string& text : texts) array.emplace_back(text);
    return array;
  }
  json::Value operator()(const std::vector<double>& numbers) const {
    if (numbers.empty()) return nullptr;
    return json::Array(numbers.begin(), numbers.end());
  }
  json::Value operator()(const std::vector<std::vector<std::string>>& lists) const {
    json::Array array;
    for (const std::vector<std::string>& list : lists) array.push_back((*this)(list));
    return array;
  }
};

class Reader {
 public:
  Reader(const OptionRow& row, std::string_view where) : row_(row), where_(where) {}

  [[nodiscard]] bool flag(const json::Value& value) const {
    if (!value.is_bool()) refuse(value, "true or false");
    return value.get_bool();
  }
  [[nodiscard]] int64_t integer(const json::Value& value) const {
    if (!value.is_int64()) refuse(value, "a whole number");
    return value.get_int64();
  }
  [[nodiscard]] double number(const json::Value& value) const {
    if (!value.is_number()) refuse(value, "a number");
    return value.to_number<double>();
  }
  [[nodiscard]] std::string text(const json::Value& value) const {
    if (!value.is_string()) refuse(value, "a text");
    return std::string(value.get_string());
  }
  [[nodiscard]] const json::Array& array(const json::Value& value) const {
    if (!value.is_array()) refuse(value, "a list");
    return value.get_array();
  }
  [[nodiscard]] std::vector<std::string> texts(const json::Value& value) const {
    std::vector<std::string> all;
    for (const json::Value& one : array(value)) all.push_back(text(one));
    return all;
  }
  [[noreturn]] void refuse(const json::Value& value, std::string_view expected) const {
    throw_input(
        str(where_, ": option '", row_.name, "' is ", printable(json::dump(value), 60), ", which is not ", expected));
  }

 private:
  const OptionRow& row_;
  std::string_view where_;
};

OptionValue read(const Reader& reader, const OptionRow& row, bool several, const json::Value& value) {
  switch (row.type) {
    case OptionType::flag:
      return reader.flag(value);
    case OptionType::integer:
    case OptionType::bytes:
      return reader.integer(value);
    case OptionType::number:
      return reader.number(value);
    case OptionType::text:
    case OptionType::path: {
      if (several) return reader.texts(value);
      return reader.text(value);
    }
    case OptionType::texts:
    case OptionType::list:
      return reader.texts(value);
    case OptionType::numbers: {
      std::vector<double> all;
      for (const json::Value& one : reader.array(value)) all.push_back(reader.number(one));
      return all;
    }
    case OptionType::groups: {
      std::vector<std::vector<std::string>> all;
      for (const json::Value& one : reader.array(value)) all.push_back(reader.texts(one));
      return all;
    }
  }
  return {};
}

}  // namespace

json::Value option_to_json(const OptionRow& row, const OptionValue& value) {
  return std::visit(ToJson{row}, value);
}

json::Object describe_options(const QuantizeOptions& options, OptionNeeds needs) {
  json::Object described;
  for (const OptionOf<QuantizeOptions>& one : option_table<QuantizeOptions>())
    if (one.row.needs == needs) described[one.row.name] = option_to_json(one.row, one.get(options));
  return described;
}

OptionValue option_from_json(const OptionRow& row, const OptionValue& usual, const json::Value& value,
                             std::string_view where) {
  if (value.is_null()) return {};
  const Reader reader(row, where);
  const bool several = std::holds_alternative<std::vector<std::string>>(usual);
  OptionValue read_value = read(reader, row, several, value);
  const auto* text = std::get_if<std::string>(&read_value);
  if (text != nullptr && !row.choices.empty()) {
    const std::vector<std::string> choices = split(row.choices, ' ');
    if (std::find(choices.begin(), choices.end(), *text) == choices.end())
      reader.refuse(value, str("one of ", quoted_list(choices)));
  }
  return read_value;
}

}  // namespace arkit
