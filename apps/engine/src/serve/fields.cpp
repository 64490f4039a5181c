#include "serve/fields.h"

#include <cmath>

#include <arkit/str.h>

namespace arkit::serve {
namespace {

std::string shown(const json::Value& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "a list";
  return printable(json::dump(value), 60);
}

}  // namespace

void throw_field(std::string_view name, const std::string& problem) {
  throw ApiError(400, str("'", name, "' ", problem), "invalid_value", std::string(name));
}

const json::Value* Fields::any(std::string_view name) {
  asked_.emplace(name);
  return json::find(object_, name);
}

std::optional<int64_t> Fields::integer(std::string_view name, int64_t least, int64_t most) {
  const json::Value* value = any(name);
  if (value == nullptr) return std::nullopt;
  std::optional<int64_t> number;
  if (value->is_int64()) number = value->get_int64();
  if (value->is_double() && std::nearbyint(value->get_double()) == value->get_double() &&
      std::abs(value->get_double()) < 9e15)
    number = static_cast<int64_t>(value->get_double());
  if (!number || *number < least || *number > most)
    throw_field(name, str("is ", shown(*value), "; expected a whole number from ", least, " to ", most));
  return number;
}

std::optional<double> Fields::number(std::string_view name, double least, double most) {
  const json::Value* value = any(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number())
    throw_field(name, str("is ", shown(*value), "; expected a number from ", least, " to ", most));
  const auto number = value->to_number<double>();
  if (!(number >= least && number <= most))
    throw_field(name, str("is ", shown(*value), "; expected a number from ", least, " to ", most));
  return number;
}

std::optional<bool> Fields::boolean(std::string_view name) {
  const json::Value* value = any(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_bool()) throw_field(name, str("is ", shown(*value), "; expected true or false"));
  return value->get_bool();
}

std::optional<std::string> Fields::text(std::string_view name) {
  const json::Value* value = any(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) throw_field(name, str("is ", shown(*value), "; expected a text"));
  return std::string(value->get_string());
}

std::vector<std::string> Fields::texts(std::string_view name, size_t most) {
  std::vector<std::string> texts;
  const json::Value* value = any(name);
  if (value == nullptr) return texts;
  if (value->is_string()) return {std::string(value->get_string())};
  if (!value->is_array()) throw_field(name, str("is ", shown(*value), "; expected a text or a list of texts"));
  if (value->get_array().size() > most)
    throw_field(name, str("has ", value->get_array().size(), " texts; at most ", most));
  for (const json::Value& one : value->get_array()) {
    if (one.is_null()) continue;
    if (!one.is_string()) throw_field(name, str("has ", shown(one), " among its texts"));
    texts.emplace_back(one.get_string());
  }
  return texts;
}

const json::Object* Fields::object(std::string_view name) {
  const json::Value* value = any(name);
  if (value == nullptr) return nullptr;
  if (!value->is_object()) throw_field(name, str("is ", shown(*value), "; expected an object"));
  return &value->get_object();
}

const json::Array* Fields::array(std::string_view name) {
  const json::Value* value = any(name);
  if (value == nullptr) return nullptr;
  if (!value->is_array()) throw_field(name, str("is ", shown(*value), "; expected a list"));
  return &value->get_array();
}

void Fields::only(std::string_view name, const json::Value& value, std::string_view why) {
  const json::Value* given = any(name);
  if (given != nullptr && *given != value) throw_field(name, str("is ", shown(*given), "; ", why));
}

std::vector<std::string> Fields::ignored() const {
  std::vector<std::string> names;
  for (const auto& member : object_)
    if (!asked_.contains(std::string_view(member.key()))) names.emplace_back(member.key());
  return names;
}

}  // namespace arkit::serve
