#include "family_table.h"

#include <algorithm>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::sdk {
namespace {

bool is_name(std::string_view text) {
  return text.size() <= 200 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
                  c == '.';
         });
}

std::optional<std::string> name_in(const json::Value& value) {
  if (!value.is_string() || value.get_string().empty() || !is_name(value.get_string())) return std::nullopt;
  return std::string(value.get_string());
}

std::optional<double> number_in(const json::Value& value, double least, double most) {
  if (!value.is_int64() && !value.is_double()) return std::nullopt;
  const double number = value.to_number<double>();
  return number >= least && number <= most ? std::optional<double>(number) : std::nullopt;
}

std::optional<int64_t> count_in(const json::Value& value, int64_t least, int64_t most) {
  if (!value.is_int64() || value.get_int64() < least || value.get_int64() > most) return std::nullopt;
  return value.get_int64();
}

}  // namespace

bool fits_pattern(std::string_view name, std::string_view pattern) {
  size_t star = pattern.find('*');
  if (star == std::string_view::npos) return name == pattern;
  if (!name.starts_with(pattern.substr(0, star))) return false;
  name.remove_prefix(star);
  pattern.remove_prefix(star + 1);
  // Each text between two stars where it comes first: a later place leaves less for the others.
  for (star = pattern.find('*'); star != std::string_view::npos; star = pattern.find('*')) {
    const size_t at = name.find(pattern.substr(0, star));
    if (at == std::string_view::npos) return false;
    name.remove_prefix(at + star);
    pattern.remove_prefix(star + 1);
  }
  return name.ends_with(pattern);
}

FamilyTable::FamilyTable(const json::Object& object, std::string file, std::string section)
    : object_(object), file_(std::move(file)), section_(std::move(section)) {}

std::string FamilyTable::place(std::string_view key) const {
  return str(file_, ": ", section_.empty() ? "" : str("[", section_, "] "), "'", printable(key), "'");
}

void FamilyTable::refuse(std::string_view key, const json::Value& value, std::string_view expected) const {
  throw_input(str(place(key), " is ", printable(json::dump(value)), "; expected ", expected));
}

const json::Value* FamilyTable::take(std::string_view key) {
  asked_.emplace_back(key);
  return json::find(object_, key);
}

std::string FamilyTable::text(std::string_view key, std::string fallback) {
  const json::Value* value = take(key);
  if (value == nullptr) return fallback;
  if (!value->is_string() || value->get_string().empty() || value->get_string().size() > 500)
    refuse(key, *value, "a text of up to 500 characters");
  return std::string(value->get_string());
}

std::string FamilyTable::choice(std::string_view key, std::initializer_list<std::string_view> allowed) {
  std::string given = text(key, std::string(*allowed.begin()));
  if (std::find(allowed.begin(), allowed.end(), given) != allowed.end()) return given;
  std::string expected;
  for (const std::string_view* one = allowed.begin(); one != allowed.end(); ++one)
    expected += str(one == allowed.begin() ? "" : one + 1 == allowed.end() ? " or " : ", ", *one);
  throw_input(str(place(key), " is '", printable(given), "'; expected ", expected));
}

std::string FamilyTable::name(std::string_view key, std::string fallback, bool may_be_none) {
  const json::Value* value = take(key);
  if (value == nullptr) return fallback;
  const bool none = value->is_string() && value->get_string().empty();
  if (none ? !may_be_none : !name_in(*value))
    refuse(key, *value,
           str("a name made of letters, digits, '_', '-' and '.'", may_be_none ? ", or \"\" for none" : ""));
  return std::string(value->get_string());
}

std::vector<std::string> FamilyTable::names(std::string_view key) {
  const json::Value* value = take(key);
  constexpr std::string_view kExpected = "a list of one or more names, such as [\"llama\"]";
  if (value == nullptr) throw_input(str(place(key), " is missing; expected ", kExpected));
  std::vector<std::string> found;
  if (const json::Array* list = value->if_array())
    for (const json::Value& entry : *list) {
      const std::optional<std::string> name = name_in(entry);
      if (!name) refuse(key, *value, kExpected);
      found.push_back(*name);
    }
  if (found.empty()) refuse(key, *value, kExpected);
  return found;
}

std::vector<std::string> FamilyTable::patterns(std::string_view key) {
  const json::Value* value = take(key);
  if (value == nullptr) return {};
  constexpr std::string_view kExpected =
      "a list of tensor names in which '*' stands for any text, such as [\"*.rotary_emb.inv_freq\"]";
  const json::Array* list = value->if_array();
  if (list == nullptr || list->empty()) refuse(key, *value, kExpected);
  std::vector<std::string> found;
  for (const json::Value& entry : *list) {
    std::string text = entry.is_string() ? std::string(entry.get_string()) : std::string();
    std::string letters = text;
    std::erase(letters, '*');
    if (letters.empty() || !is_name(letters)) refuse(key, *value, kExpected);
    found.push_back(std::move(text));
  }
  return found;
}

std::map<std::string, bool, std::less<>> FamilyTable::flags() {
  std::map<std::string, bool, std::less<>> found;
  for (const auto& member : object_) {
    const std::string key(member.key());
    if (!is_name(key) || !member.value().is_bool()) refuse(key, member.value(), "true or false");
    found.emplace(key, member.value().get_bool());
  }
  return found;
}

int64_t FamilyTable::count(std::string_view key, int64_t fallback, int64_t least, int64_t most) {
  const json::Value* value = take(key);
  if (value == nullptr) return fallback;
  const std::optional<int64_t> found = count_in(*value, least, most);
  if (!found) refuse(key, *value, str("a whole number from ", least, " to ", most));
  return *found;
}

double FamilyTable::number(std::string_view key, double fallback, double least, double most) {
  const json::Value* value = take(key);
  if (value == nullptr) return fallback;
  const std::optional<double> found = number_in(*value, least, most);
  if (!found) refuse(key, *value, str("a number from ", least, " to ", most));
  return *found;
}

bool FamilyTable::flag(std::string_view key, bool fallback) {
  const json::Value* value = take(key);
  if (value == nullptr) return fallback;
  if (!value->is_bool()) refuse(key, *value, "true or false");
  return value->get_bool();
}

template <typename T, typename Read>
Setting<T> FamilyTable::setting(std::string_view key, Setting<T> fallback, std::string_view expected,
                                const Read& read) {
  const json::Value* value = take(key);
  if (value == nullptr) return fallback;
  const std::string choices =
      str(expected, ", a key of config.json, or { key = \"...\", absent = ... } with what its absence means");
  if (value->is_string()) {
    if (!name_in(*value)) refuse(key, *value, choices);
    return {std::string(value->get_string()), fallback.value};
  }
  if (!value->is_object()) {
    const std::optional<T> fixed = read(*value);
    if (!fixed) refuse(key, *value, choices);
    return {{}, fixed};
  }
  FamilyTable inner(value->get_object(), file_, str(section_, section_.empty() ? "" : ".", key));
  Setting<T> found{inner.name("key", "", false), fallback.value};
  if (found.key.empty()) throw_input(str(inner.place("key"), " is missing; expected a key of config.json"));
  if (const json::Value* absent = inner.take("absent")) {
    found.value = read(*absent);
    if (!found.value) inner.refuse("absent", *absent, expected);
  }
  inner.done();
  return found;
}

Setting<bool> FamilyTable::flag_setting(std::string_view key, Setting<bool> fallback) {
  return setting<bool>(key, std::move(fallback), "true, false", [](const json::Value& value) {
    return value.is_bool() ? std::optional<bool>(value.get_bool()) : std::nullopt;
  });
}

Setting<double> FamilyTable::number_setting(std::string_view key, double least, double most) {
  return setting<double>(key, {}, str("a number from ", least, " to ", most),
                         [&](const json::Value& value) { return number_in(value, least, most); });
}

Setting<int64_t> FamilyTable::count_setting(std::string_view key, int64_t least, int64_t most) {
  return setting<int64_t>(key, {}, str("a whole number from ", least, " to ", most),
                          [&](const json::Value& value) { return count_in(value, least, most); });
}

FamilyTable FamilyTable::table(std::string_view key) {
  static const json::Object kEmpty;
  const json::Value* value = take(key);
  if (value != nullptr && !value->is_object()) refuse(key, *value, str("a table: [", key, "]"));
  return {value == nullptr ? kEmpty : value->get_object(), file_, str(section_, section_.empty() ? "" : ".", key)};
}

void FamilyTable::done() const {
  for (const auto& member : object_) {
    const std::string key(member.key());
    if (std::find(asked_.begin(), asked_.end(), key) != asked_.end()) continue;
    const std::string near = nearest(key, asked_);
    throw_input(str(place(key), " is unknown; ",
                    near.empty() ? str("known are ", quoted_list(asked_)) : str("did you mean '", near, "'?")));
  }
}

}  // namespace arkit::sdk
