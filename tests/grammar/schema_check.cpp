#include "grammar/schema_check.h"

#include <cmath>
#include <regex>

#include <arkit/str.h>

namespace arkit::testing {
namespace {

bool equal(const json::Value& a, const json::Value& b) {
  if (a.is_number() && b.is_number()) return a.to_number<double>() == b.to_number<double>();
  return a == b;
}

bool is_kind(const json::Value& value, std::string_view type) {
  if (type == "null") return value.is_null();
  if (type == "boolean") return value.is_bool();
  if (type == "string") return value.is_string();
  if (type == "array") return value.is_array();
  if (type == "object") return value.is_object();
  if (!value.is_number()) return false;
  return type == "number" || std::floor(value.to_number<double>()) == value.to_number<double>();
}

// Characters, not bytes.
std::wstring wide(std::string_view text) {
  std::wstring out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte & 0xC0) == 0x80)
      out.back() = static_cast<wchar_t>(static_cast<uint32_t>(out.back()) << 6 | (byte & 0x3FU));
    else
      out += static_cast<wchar_t>(byte < 0x80   ? byte
                                  : byte < 0xE0 ? byte & 0x1F
                                  : byte < 0xF0 ? byte & 0x0F
                                                : byte & 0x07);
  }
  return out;
}

long characters(std::string_view text) {
  long count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80 ? 1 : 0;
  return count;
}

const json::Value& target(const json::Value& root, std::string_view pointer) {
  return pointer == "#" ? root : root.at_pointer(pointer.substr(1));
}

int fits_of(const json::Value& value, const json::Value& list, const json::Value& root) {
  int fits = 0;
  for (const json::Value& one : list.as_array()) fits += misfit(value, one, root).empty() ? 1 : 0;
  return fits;
}

std::string number_misfit(double number, std::string_view key, double end) {
  if (key == "minimum"            ? number >= end
      : key == "maximum"          ? number <= end
      : key == "exclusiveMinimum" ? number > end
                                  : number < end)
    return {};
  return str(number, " is beyond ", key, " ", end);
}

std::string object_misfit(const json::Object& value, const json::Object& schema, const json::Value& root) {
  if (const auto* required = schema.if_contains("required"))
    for (const json::Value& name : required->as_array())
      if (!value.contains(name.as_string())) return str("no ", name);
  for (const auto& member : value) {
    const json::Value* own = nullptr;
    if (const auto* properties = schema.if_contains("properties"))
      own = properties->as_object().if_contains(member.key());
    if (own == nullptr) own = schema.if_contains("additionalProperties");
    if (own == nullptr) continue;
    if (const std::string bad = misfit(member.value(), *own, root); !bad.empty()) return str(member.key(), ": ", bad);
  }
  return {};
}

std::string array_misfit(const json::Array& value, const json::Object& schema, const json::Value& root) {
  const auto size = static_cast<double>(value.size());
  if (const auto* least = schema.if_contains("minItems"); least != nullptr && size < least->to_number<double>())
    return "too few";
  if (const auto* most = schema.if_contains("maxItems"); most != nullptr && size > most->to_number<double>())
    return "too many";
  const auto* prefix = schema.if_contains("prefixItems");
  const auto* items = schema.if_contains("items");
  for (size_t i = 0; i < value.size(); ++i) {
    const json::Value* own = prefix != nullptr && i < prefix->as_array().size() ? &prefix->as_array()[i] : items;
    if (own == nullptr) continue;
    if (const std::string bad = misfit(value[i], *own, root); !bad.empty()) return str(i, ": ", bad);
  }
  return {};
}

}  // namespace

std::string misfit(const json::Value& value, const json::Value& schema, const json::Value& root) {
  if (schema.is_bool()) return schema.get_bool() ? "" : "nothing fits false";
  const json::Object& rules = schema.as_object();
  for (const auto& rule : rules) {
    const std::string_view key = rule.key();
    const json::Value& given = rule.value();
    std::string bad;
    if (key == "type") {
      bool is = false;
      if (given.is_string()) is = is_kind(value, given.as_string());
      if (given.is_array())
        for (const json::Value& type : given.as_array()) is = is || is_kind(value, type.as_string());
      if (!is) bad = str("is no ", given);
    } else if (key == "const") {
      if (!equal(value, given)) bad = str("is not ", given);
    } else if (key == "enum") {
      bool is = false;
      for (const json::Value& one : given.as_array()) is = is || equal(value, one);
      if (!is) bad = str("is none of ", given);
    } else if (key == "$ref") {
      bad = misfit(value, target(root, given.as_string()), root);
    } else if (key == "anyOf") {
      if (fits_of(value, given, root) == 0) bad = "fits none of anyOf";
    } else if (key == "oneOf") {
      if (fits_of(value, given, root) != 1) bad = "fits not one of oneOf";
    } else if (key == "allOf") {
      if (fits_of(value, given, root) != static_cast<int>(given.as_array().size())) bad = "fits not allOf";
    } else if (key == "minLength") {
      if (value.is_string() && characters(value.as_string()) < given.to_number<double>()) bad = "too short";
    } else if (key == "maxLength") {
      if (value.is_string() && characters(value.as_string()) > given.to_number<double>()) bad = "too long";
    } else if (key == "pattern") {
      if (value.is_string() && !std::regex_search(wide(value.as_string()), std::wregex(wide(given.as_string()))))
        bad = str("does not match ", given);
    } else if (key.ends_with("inimum") || key.ends_with("aximum")) {
      if (value.is_number()) bad = number_misfit(value.to_number<double>(), key, given.to_number<double>());
    } else if (key != "properties" && key != "required" && key != "additionalProperties" && key != "items" &&
               key != "prefixItems" && key != "minItems" && key != "maxItems" && key != "$defs" && key != "title") {
      bad = str("the check does not know ", key);
    }
    if (!bad.empty()) return bad;
  }
  if (value.is_object()) return object_misfit(value.get_object(), rules, root);
  if (value.is_array()) return array_misfit(value.get_array(), rules, root);
  return {};
}

}  // namespace arkit::testing
