#include "grammar/schema_words.h"

#include <algorithm>
#include <array>
#include <map>
#include <string_view>
#include <vector>

#include <arkit/str.h>

#include "grammar/schema_shape.h"

namespace arkit::grammar {
namespace {

constexpr std::array<std::string_view, 22> kFollowed{
    "type",    "enum",        "const",    "properties", "required",         "additionalProperties",
    "items",   "prefixItems", "minItems", "maxItems",   "minLength",        "maxLength",
    "pattern", "format",      "minimum",  "maximum",    "exclusiveMinimum", "exclusiveMaximum",
    "anyOf",   "oneOf",       "allOf",    "$ref"};
constexpr std::array<std::string_view, 12> kDescribing{"title",      "description", "default",     "examples",
                                                       "deprecated", "readOnly",    "writeOnly",   "$comment",
                                                       "$schema",    "$defs",       "definitions", "$id"};

struct KindWords {
  uint8_t kind;
  std::vector<std::string_view> words;
};
const std::vector<KindWords>& words_of_kinds() {
  static const std::vector<KindWords> kWords{
      {kObject, {"properties", "required", "additionalProperties"}},
      {kArray, {"items", "prefixItems", "minItems", "maxItems"}},
      {kString, {"minLength", "maxLength", "pattern", "format"}},
      {kInteger | kFraction, {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}}};
  return kWords;
}

}  // namespace

bool only_describes(std::string_view word) {
  return std::find(kDescribing.begin(), kDescribing.end(), word) != kDescribing.end();
}

void check_words(const SchemaReader& reader, const json::Object& schema, const std::string& pointer) {
  for (const auto& [key, value] : schema) {
    const std::string_view word = key;
    if (std::find(kFollowed.begin(), kFollowed.end(), word) != kFollowed.end()) continue;
    if (word == "$id" && pointer != "#") reader.refuse(below(pointer, word), "is supported at the top alone");
    if (only_describes(word)) continue;
    // These say nothing with these values.
    if (word == "uniqueItems" && value.is_bool() && !value.get_bool()) continue;
    const std::vector<std::string> known(kFollowed.begin(), kFollowed.end());
    const std::string near = nearest(word, known);
    reader.refuse(below(pointer, word), str("this keyword is not supported, and nothing is ignored; ",
                                            near.empty() ? "leave it out" : str("did you mean '", near, "'?")));
  }
}

uint8_t asked_kinds(const SchemaReader& reader, const json::Object& schema, const std::string& pointer) {
  static const std::map<std::string_view, uint8_t> kKinds{
      {"null", kNull},     {"boolean", kBool}, {"integer", kInteger}, {"number", kInteger | kFraction},
      {"string", kString}, {"array", kArray},  {"object", kObject}};
  const json::Value* given = schema.if_contains("type");
  uint8_t kinds = 0;
  if (given == nullptr) {
    for (const auto& [kind, words] : words_of_kinds())
      if (std::any_of(words.begin(), words.end(), [&](std::string_view word) { return schema.contains(word); }))
        kinds |= kind;
    return kinds == 0 ? uint8_t{kAnyKind} : kinds;
  }
  const auto add = [&](const json::Value& name) {
    const auto found = name.is_string() ? kKinds.find(std::string_view(name.get_string())) : kKinds.end();
    if (found == kKinds.end())
      reader.complain(below(pointer, "type"),
                      "expected null, boolean, integer, number, string, array or object, or a list of these");
    kinds |= found->second;
  };
  if (!given->is_array()) {
    add(*given);
    return kinds;
  }
  for (const json::Value& name : given->get_array()) add(name);
  return kinds;
}

std::string pattern_of_format(const SchemaReader& reader, const std::string& format, const std::string& pointer) {
  // The last days of a month as every year has them.
  const std::string date =
      "[0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8])"
      ")";
  const std::string time =
      "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])";
  const std::string byte = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
  const std::string label = "[A-Za-z0-9]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?";
  const std::string host = label + "(\\." + label + "){0,4}";
  const std::map<std::string_view, std::string> known{
      {"date", date},
      {"time", time},
      {"date-time", date + "T" + time},
      {"uuid", "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"},
      {"ipv4", byte + "(\\." + byte + "){3}"},
      {"hostname", host},
      {"email", "[A-Za-z0-9_+-]{1,30}(\\.[A-Za-z0-9_+-]{1,30})?@" + host}};
  const auto found = known.find(format);
  if (found == known.end())
    reader.refuse(pointer, str("format '", printable(format),
                               "' is not supported; date, time, date-time, uuid, ipv4, hostname and email are, and "
                               "pattern says others"));
  return "^" + found->second + "$";
}

bool same_json(const json::Value& a, const json::Value& b) {
  if (a.is_number() && b.is_number()) {
    if (a.is_double() || b.is_double()) return a.to_number<double>() == b.to_number<double>();
    return a == b;
  }
  if (a.is_array() && b.is_array())
    return std::equal(a.get_array().begin(), a.get_array().end(), b.get_array().begin(), b.get_array().end(),
                      same_json);
  if (!a.is_object() || !b.is_object()) return a == b;
  if (a.get_object().size() != b.get_object().size()) return false;
  return std::all_of(a.get_object().begin(), a.get_object().end(), [&](const auto& member) {
    const json::Value* other = b.get_object().if_contains(member.key());
    return other != nullptr && same_json(member.value(), *other);
  });
}

}  // namespace arkit::grammar
