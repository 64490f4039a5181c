#include "grammar/schema_shape.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <string_view>

#include <arkit/error.h>
#include <arkit/str.h>

#include "grammar/schema_words.h"

namespace arkit::grammar {
namespace {

constexpr int kMostDepth = 64;           // of $ref, allOf and anyOf inside one another, all about one value
constexpr size_t kMostShapes = 256;      // ways to satisfy one value
constexpr int64_t kMostSpent = 1 << 16;  // schemas looked at in all

void append(Places& to, const Places& more) {
  for (const Place& place : more) {
    const auto same = [&](const Place& other) { return other.schema == place.schema; };
    if (std::none_of(to.begin(), to.end(), same)) to.push_back(place);
  }
}

// Whether no value is of both.
bool disjoint(const Shape& a, const Shape& b) {
  const auto kinds_of = [](const Shape& shape) {
    uint8_t kinds = shape.typed;
    if (shape.values) {
      uint8_t of_values = 0;
      for (const json::Value* value : *shape.values) of_values |= kind_of(*value);
      kinds &= of_values;
    }
    return kinds;
  };
  const uint8_t both = kinds_of(a) & kinds_of(b);
  if (both == 0) return true;
  if (a.values && b.values)
    return std::none_of(a.values->begin(), a.values->end(), [&](const json::Value* one) {
      return std::any_of(b.values->begin(), b.values->end(),
                         [&](const json::Value* other) { return same_json(*one, *other); });
    });
  if (both != kObject) return false;
  // Objects that both must have a property of which they ask different constants.
  const auto constants = [](const Shape& shape, const std::string& name) -> std::vector<const json::Value*> {
    for (const auto& [property, places] : shape.properties) {
      if (property != name) continue;
      for (const Place& place : places) {
        if (!place.schema->is_object()) continue;
        const json::Object& schema = place.schema->get_object();
        if (const auto* one = schema.if_contains("const")) return {one};
        const auto* list = schema.if_contains("enum");
        if (list == nullptr || !list->is_array()) continue;
        std::vector<const json::Value*> all;
        for (const json::Value& value : list->get_array()) all.push_back(&value);
        return all;
      }
    }
    return {};
  };
  return std::any_of(a.required.begin(), a.required.end(), [&](const std::string& name) {
    if (std::find(b.required.begin(), b.required.end(), name) == b.required.end()) return false;
    const auto mine = constants(a, name), others = constants(b, name);
    if (mine.empty() || others.empty()) return false;
    return std::none_of(mine.begin(), mine.end(), [&](const json::Value* one) {
      return std::any_of(others.begin(), others.end(),
                         [&](const json::Value* other) { return same_json(*one, *other); });
    });
  });
}

}  // namespace

uint8_t kind_of(const json::Value& value) {
  if (value.is_null()) return kNull;
  if (value.is_bool()) return kBool;
  if (value.is_int64() || value.is_uint64()) return kInteger;
  if (value.is_double()) return std::floor(value.get_double()) == value.get_double() ? kInteger : kFraction;
  if (value.is_string()) return kString;
  return value.is_array() ? kArray : kObject;
}

std::string below(const std::string& pointer, std::string_view key) {
  std::string out = pointer + "/";
  for (const char c : key) {
    if (c == '~')
      out += "~0";
    else if (c == '/')
      out += "~1";
    else
      out += c;
  }
  return out;
}

void SchemaReader::refuse(const std::string& pointer, const std::string& problem) const {
  throw_unsupported(str(what_, ": ", printable(pointer), ": ", problem));
}

void SchemaReader::complain(const std::string& pointer, const std::string& problem) const {
  throw_input(str(what_, ": ", printable(pointer), ": ", problem));
}

void SchemaReader::spend() {
  if (++spent_ > kMostSpent)
    refuse("#", str("more than ", kMostSpent,
                    " schemas are to be looked at, those of references each time; make it "
                    "smaller"));
}

std::vector<Shape> SchemaReader::shapes(const Places& places) {
  std::vector<Shape> all(1);
  for (const Place& place : places) all = narrowed(std::move(all), place, 0);
  for (Shape& shape : all) filter_values(shape);
  std::erase_if(all, [](const Shape& shape) { return shape.kinds == 0 || (shape.values && shape.values->empty()); });
  return all;
}

std::vector<Shape> SchemaReader::narrowed(std::vector<Shape> shapes, const Place& place, int depth) {
  spend();
  if (depth > kMostDepth)
    refuse(place.pointer, str("more than ", kMostDepth,
                              " schemas inside one another speak of the same value, or one "
                              "refers to itself"));
  if (place.schema->is_bool()) {
    if (!place.schema->get_bool()) shapes.clear();
    return shapes;
  }
  if (!place.schema->is_object()) complain(place.pointer, "a schema is an object, true or false");
  const json::Object& schema = place.schema->get_object();
  check_words(*this, schema, place.pointer);
  for (Shape& shape : shapes) restrict(shape, schema, place.pointer);
  if (schema.contains("$ref")) shapes = narrowed(std::move(shapes), target(place), depth + 1);
  if (const json::Value* all = schema.if_contains("allOf")) {
    const std::string at = below(place.pointer, "allOf");
    if (!all->is_array() || all->get_array().empty()) complain(at, "expected a list of schemas");
    for (size_t i = 0; i < all->get_array().size(); ++i)
      shapes = narrowed(std::move(shapes), {&all->get_array()[i], below(at, std::to_string(i))}, depth + 1);
  }
  for (const std::string_view key : {"anyOf", "oneOf"})
    if (schema.contains(key)) shapes = chosen(shapes, place, key, depth + 1);
  return shapes;
}

std::vector<Shape> SchemaReader::chosen(const std::vector<Shape>& shapes, const Place& place, std::string_view key,
                                        int depth) {
  const std::string at = below(place.pointer, key);
  const json::Value& given = place.schema->get_object().at(key);
  if (!given.is_array() || given.get_array().empty()) complain(at, "expected a list of schemas");
  const json::Array& all = given.get_array();
  if (key == "oneOf") check_exclusive(shapes, place, depth);
  std::vector<Shape> made;
  for (size_t i = 0; i < all.size(); ++i) {
    for (Shape& shape : narrowed(shapes, {&all[i], below(at, std::to_string(i))}, depth))
      made.push_back(std::move(shape));
    if (made.size() > kMostShapes)
      refuse(at, str("more than ", kMostShapes, " combinations of alternatives; use fewer of them on one value"));
  }
  return made;
}

// Each value may satisfy one alternative only. What else is asked of it helps to tell them apart.
void SchemaReader::check_exclusive(const std::vector<Shape>& shapes, const Place& place, int depth) {
  const std::string at = below(place.pointer, "oneOf");
  const json::Array& all = place.schema->get_object().at("oneOf").get_array();
  std::vector<std::vector<Shape>> ways;
  for (size_t i = 0; i < all.size(); ++i)
    ways.push_back(narrowed(shapes, {&all[i], below(at, std::to_string(i))}, depth));
  for (size_t i = 0; i < ways.size(); ++i)
    for (size_t j = i + 1; j < ways.size(); ++j)
      for (const Shape& a : ways[i])
        for (const Shape& b : ways[j])
          if (!disjoint(a, b))
            refuse(at, str("alternatives ", i, " and ", j,
                           " may both accept the same value, which oneOf forbids; use anyOf, or give them different "
                           "types or a required property with different constants"));
}

Place SchemaReader::target(const Place& reference) const {
  const std::string at = below(reference.pointer, "$ref");
  const json::Value& given = reference.schema->get_object().at("$ref");
  if (!given.is_string()) complain(at, "expected a text");
  const std::string_view pointer = given.get_string();
  if (pointer != "#" && !pointer.starts_with("#/"))
    refuse(at,
           str("'", printable(pointer), "' is not supported; only places of the same file are, as in '#/$defs/name'"));
  Place found{&root_, "#"};
  if (pointer == "#") return found;
  for (const std::string& part : split(pointer.substr(2), '/')) {
    std::string key;
    for (size_t i = 0; i < part.size(); ++i) {
      if (part[i] == '%') refuse(at, "%-escapes are not supported; write the character");
      if (part[i] == '~' && i + 1 < part.size() && (part[i + 1] == '0' || part[i + 1] == '1'))
        key += part[++i] == '0' ? '~' : '/';
      else
        key += part[i];
    }
    const json::Value* next = nullptr;
    if (found.schema->is_object()) next = found.schema->get_object().if_contains(key);
    if (found.schema->is_array()) {
      size_t index = 0;
      const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), index);
      if (error == std::errc() && end == key.data() + key.size() && index < found.schema->get_array().size())
        next = &found.schema->get_array()[index];
    }
    if (next == nullptr) complain(at, str("'", printable(pointer), "' leads nowhere"));
    found = {next, below(found.pointer, key)};
  }
  return found;
}

std::optional<int64_t> SchemaReader::count(const json::Object& schema, std::string_view key,
                                           const std::string& pointer) const {
  const json::Value* given = schema.if_contains(key);
  if (given == nullptr) return std::nullopt;
  const bool whole =
      given->is_int64() || (given->is_double() && std::floor(given->get_double()) == given->get_double());
  const double value = !whole ? -1 : given->is_int64() ? static_cast<double>(given->get_int64()) : given->get_double();
  if (!(value >= 0 && value <= 1e15)) complain(below(pointer, key), "expected a whole number from 0 on");
  return static_cast<int64_t>(value);
}

void SchemaReader::restrict(Shape& shape, const json::Object& schema, const std::string& pointer) {
  const uint8_t asked = asked_kinds(*this, schema, pointer);
  shape.kinds &= asked;
  if (schema.contains("type")) shape.typed &= asked;
  restrict_values(shape, schema, pointer);
  restrict_object(shape, schema, pointer);
  restrict_array(shape, schema, pointer);
  restrict_string(shape, schema, pointer);
  restrict_number(shape, schema, pointer);
}

void SchemaReader::restrict_values(Shape& shape, const json::Object& schema, const std::string& pointer) {
  for (const std::string_view key : {"const", "enum"}) {
    const json::Value* given = schema.if_contains(key);
    if (given == nullptr) continue;
    std::vector<const json::Value*> values;
    if (key == "const") values.push_back(given);
    if (key == "enum") {
      if (!given->is_array() || given->get_array().empty()) complain(below(pointer, key), "expected a list of values");
      for (const json::Value& value : given->get_array()) values.push_back(&value);
    }
    if (shape.values)
      std::erase_if(values, [&](const json::Value* value) {
        return std::none_of(shape.values->begin(), shape.values->end(),
                            [&](const json::Value* other) { return same_json(*value, *other); });
      });
    shape.values = std::move(values);
    shape.values_at = below(pointer, key);
  }
}

void SchemaReader::restrict_object(Shape& shape, const json::Object& schema, const std::string& pointer) {
  const json::Value* properties = schema.if_contains("properties");
  const json::Value* additional = schema.if_contains("additionalProperties");
  const json::Value* required = schema.if_contains("required");
  for (const std::string_view key : {"properties", "additionalProperties", "required"})
    if (schema.contains(key) && shape.object_rules_at.empty()) shape.object_rules_at = below(pointer, key);
  static const json::Object kNone;
  if (properties != nullptr && !properties->is_object())
    complain(below(pointer, "properties"), "expected an object of schemas");
  const json::Object& mine = properties != nullptr ? properties->get_object() : kNone;
  Places others;
  if (additional != nullptr) others.push_back({additional, below(pointer, "additionalProperties")});
  std::map<std::string, size_t> known;
  for (size_t i = 0; i < shape.properties.size(); ++i) {
    known.emplace(shape.properties[i].first, i);
    if (!mine.contains(shape.properties[i].first)) append(shape.properties[i].second, others);
  }
  for (const auto& [key, schema_of] : mine) {
    const Places own{{&schema_of, below(below(pointer, "properties"), key)}};
    const auto found = known.find(std::string(key));
    if (found != known.end()) {
      append(shape.properties[found->second].second, own);
      continue;
    }
    Places places = shape.additional;
    append(places, own);
    shape.properties.emplace_back(std::string(key), std::move(places));
  }
  append(shape.additional, others);
  if (required == nullptr) return;
  if (!required->is_array()) complain(below(pointer, "required"), "expected a list of names");
  for (const json::Value& name : required->get_array()) {
    if (!name.is_string()) complain(below(pointer, "required"), "expected a list of names");
    if (std::find(shape.required.begin(), shape.required.end(), std::string_view(name.get_string())) ==
        shape.required.end())
      shape.required.emplace_back(name.get_string());
  }
}

void SchemaReader::restrict_array(Shape& shape, const json::Object& schema, const std::string& pointer) {
  for (const std::string_view key : {"items", "prefixItems", "minItems", "maxItems"})
    if (schema.contains(key) && shape.array_rules_at.empty()) shape.array_rules_at = below(pointer, key);
  std::vector<Places> prefix;
  if (const json::Value* given = schema.if_contains("prefixItems")) {
    const std::string at = below(pointer, "prefixItems");
    if (!given->is_array() || given->get_array().empty()) complain(at, "expected a list of schemas");
    for (size_t i = 0; i < given->get_array().size(); ++i)
      prefix.push_back({{&given->get_array()[i], below(at, std::to_string(i))}});
  }
  Places rest;
  if (const json::Value* given = schema.if_contains("items")) {
    if (given->is_array())
      refuse(below(pointer, "items"), "a list of schemas is not supported; prefixItems says the same");
    rest.push_back({given, below(pointer, "items")});
  }
  while (shape.prefix.size() < prefix.size()) shape.prefix.push_back(shape.rest);
  for (size_t i = 0; i < shape.prefix.size(); ++i) append(shape.prefix[i], i < prefix.size() ? prefix[i] : rest);
  append(shape.rest, rest);
  shape.min_items = std::max(shape.min_items, count(schema, "minItems", pointer).value_or(0));
  if (const auto most = count(schema, "maxItems", pointer))
    shape.max_items = std::min(shape.max_items.value_or(*most), *most);
}

void SchemaReader::restrict_string(Shape& shape, const json::Object& schema, const std::string& pointer) {
  for (const std::string_view key : {"minLength", "maxLength", "pattern", "format"})
    if (schema.contains(key) && shape.text_rules_at.empty()) shape.text_rules_at = below(pointer, key);
  shape.min_length = std::max(shape.min_length, count(schema, "minLength", pointer).value_or(0));
  if (const auto most = count(schema, "maxLength", pointer))
    shape.max_length = std::min(shape.max_length.value_or(*most), *most);
  for (const std::string_view key : {"pattern", "format"}) {
    const json::Value* given = schema.if_contains(key);
    if (given == nullptr) continue;
    const std::string at = below(pointer, key);
    if (!given->is_string()) complain(at, "expected a text");
    std::string pattern(given->get_string());
    if (key == "format") pattern = pattern_of_format(*this, pattern, at);
    if (shape.pattern && *shape.pattern != pattern)
      refuse(at, str("two patterns or formats of one text are not supported; the other is at ", shape.pattern_at));
    shape.pattern = std::move(pattern);
    shape.pattern_at = at;
  }
}

void SchemaReader::restrict_number(Shape& shape, const json::Object& schema, const std::string& pointer) {
  NumberRange& range = shape.range;
  for (const std::string_view key : {"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"}) {
    const json::Value* given = schema.if_contains(key);
    if (given == nullptr) continue;
    const std::string at = below(pointer, key);
    if (given->is_bool()) refuse(at, "true and false are of an old draft; give the number here");
    if (!given->is_number()) complain(at, "expected a number");
    const double end = given->to_number<double>();
    if (!std::isfinite(end)) complain(at, "expected a finite number");
    const bool open = key.starts_with("exclusive");
    if (key.ends_with("inimum")) {
      if (!range.least || end > *range.least || (end == *range.least && open)) {
        range.least = end;
        range.above = open;
      }
    } else if (!range.most || end < *range.most || (end == *range.most && open)) {
      range.most = end;
      range.below = open;
    }
    shape.range_at = at;
  }
}

// Values are written as they are; of those that other keywords forbid, here is who sees to it that they do not come.
void SchemaReader::filter_values(Shape& shape) const {
  if (!shape.values) return;
  std::erase_if(*shape.values, [&](const json::Value* value) {
    const uint8_t kind = kind_of(*value);
    if ((shape.kinds & kind) == 0) return true;
    const auto beside = [&](const std::string& at) {
      if (!at.empty())
        refuse(at, str("beside ", shape.values_at, " it is not supported; leave out the values it forbids, and it"));
    };
    if (kind == kObject) beside(shape.object_rules_at);
    if (kind == kArray) beside(shape.array_rules_at);
    if (kind == kString) beside(shape.text_rules_at);
    if (kind != kInteger && kind != kFraction) return false;
    const double number = value->to_number<double>();
    const NumberRange& range = shape.range;
    return (range.least && (range.above ? number <= *range.least : number < *range.least)) ||
           (range.most && (range.below ? number >= *range.most : number > *range.most));
  });
}

}  // namespace arkit::grammar
