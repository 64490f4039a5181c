#pragma once
// What several schemas ask of a value together, as one of its ways to be satisfied.

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <arkit/json.h>

#include "grammar/json_writer.h"

namespace arkit::grammar {

enum KindBits : uint8_t {
  kNull = 1,
  kBool = 2,
  kInteger = 4,
  kFraction = 8,  // numbers that are not whole
  kString = 16,
  kArray = 32,
  kObject = 64,
  kAnyKind = 127
};
[[nodiscard]] uint8_t kind_of(const json::Value& value);

// A schema and where it stands.
struct Place {
  const json::Value* schema = nullptr;
  std::string pointer;  // "#/properties/name"
};
// All of these at once; none = anything.
using Places = std::vector<Place>;

struct Shape {
  uint8_t kinds = kAnyKind;
  uint8_t typed = kAnyKind;  // what "type" alone leaves: other keywords do not speak of values of other kinds
  std::optional<std::vector<const json::Value*>> values;  // one of these
  std::string values_at;

  std::vector<std::pair<std::string, Places>> properties;  // in their order
  Places additional;                                       // of all other properties
  std::vector<std::string> required;

  std::vector<Places> prefix;  // of the first elements
  Places rest;                 // of those after them
  int64_t min_items = 0;
  std::optional<int64_t> max_items;

  int64_t min_length = 0;
  std::optional<int64_t> max_length;
  std::optional<std::string> pattern;  // or of a format
  std::string pattern_at;
  std::string text_rules_at, object_rules_at, array_rules_at;  // the first keyword of that kind; empty = none

  NumberRange range;
  std::string range_at;
};

class SchemaReader {
 public:
  SchemaReader(const json::Value& root, std::string what) : root_(root), what_(std::move(what)) {}

  // The ways to satisfy all of them. Throws as read_json_schema.
  [[nodiscard]] std::vector<Shape> shapes(const Places& places);
  [[nodiscard]] Place target(const Place& reference) const;  // of its "$ref"
  [[nodiscard]] const std::string& what() const { return what_; }
  [[noreturn]] void refuse(const std::string& pointer, const std::string& problem) const;    // unsupported
  [[noreturn]] void complain(const std::string& pointer, const std::string& problem) const;  // no schema

 private:
  [[nodiscard]] std::vector<Shape> narrowed(std::vector<Shape> shapes, const Place& place, int depth);
  [[nodiscard]] std::vector<Shape> chosen(const std::vector<Shape>& shapes, const Place& place, std::string_view key,
                                          int depth);
  void check_exclusive(const std::vector<Shape>& shapes, const Place& place, int depth);
  void restrict(Shape& shape, const json::Object& schema, const std::string& pointer);
  void restrict_values(Shape& shape, const json::Object& schema, const std::string& pointer);
  void restrict_object(Shape& shape, const json::Object& schema, const std::string& pointer);
  void restrict_array(Shape& shape, const json::Object& schema, const std::string& pointer);
  void restrict_string(Shape& shape, const json::Object& schema, const std::string& pointer);
  void restrict_number(Shape& shape, const json::Object& schema, const std::string& pointer);
  void filter_values(Shape& shape) const;
  [[nodiscard]] std::optional<int64_t> count(const json::Object& schema, std::string_view key,
                                             const std::string& pointer) const;
  void spend();

  const json::Value& root_;
  std::string what_;
  int64_t spent_ = 0;
};

// "#/a~1b" + "c/d" -> "#/a~1b/c~1d".
[[nodiscard]] std::string below(const std::string& pointer, std::string_view key);

}  // namespace arkit::grammar
