#pragma once
// Values of a template: Python's, as far as chat templates meet them. A value is a small view of memory that outlives
// it: the budget's, the syntax tree's or the variables'.

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <arkit/json.h>

#include "text/jinja/budget.h"

namespace arkit::text::jinja {

class Value;
using Values = std::vector<Value, Allocator<Value>>;
using Items = std::span<const Value>;
using Named = std::vector<std::pair<std::string_view, Value>, Allocator<std::pair<std::string_view, Value>>>;

struct None {};
struct List {
  Items items;
  bool tuple = false;
};
struct Dict {
  using Entry = std::pair<Value, Value>;
  std::vector<Entry, Allocator<Entry>> items;  // in order of insertion
  [[nodiscard]] const Value* find(const Value& key) const;
  void set(const Value& key, const Value& value);
};
// A namespace, whose attributes can be assigned, or the `loop` variable.
struct Object;
struct Callable;

class Value {
 public:
  Value() : kind_(Kind::none) {}
  Value(None) : Value() {}
  Value(bool flag) : kind_(Kind::boolean) { data_.flag = flag; }
  Value(int64_t number) : kind_(Kind::integer) { data_.integer = number; }
  Value(int number) : Value(int64_t{number}) {}
  Value(double number) : kind_(Kind::real) { data_.real = number; }
  Value(const Dict* dict) : kind_(Kind::dict) { data_.dict = dict; }
  Value(Object* object) : kind_(Kind::object) { data_.object = object; }
  Value(const Callable* callable) : kind_(Kind::callable) { data_.callable = callable; }
  template <typename T>
  Value(const T*) = delete;  // a literal would become a bool

  // Views of memory that lasts; copied() makes it last.
  static Value text(std::string_view text) { return {Kind::string, text}; }
  static Value copied(std::string_view text) { return Value::text(joined_text(text)); }
  static Value undefined(std::string_view hint) { return {Kind::undefined, hint}; }
  static Value list(Items items, bool tuple = false);
  static Value dict(Dict items);

  [[nodiscard]] bool is_undefined() const { return kind_ == Kind::undefined; }
  // Of a name or attribute that does not exist: prints as nothing, fails with this message when used for more.
  [[nodiscard]] std::string_view hint() const { return {data_.text, size_}; }
  [[nodiscard]] bool is_none() const { return kind_ == Kind::none; }
  [[nodiscard]] bool is_boolean() const { return kind_ == Kind::boolean; }
  [[nodiscard]] bool is_string() const { return kind_ == Kind::string; }
  [[nodiscard]] std::string_view string() const { return {data_.text, size_}; }  // of a string
  [[nodiscard]] const List* list() const { return kind_ == Kind::list ? data_.list : nullptr; }
  [[nodiscard]] const Dict* dict() const { return kind_ == Kind::dict ? data_.dict : nullptr; }
  [[nodiscard]] Object* object() const { return kind_ == Kind::object ? data_.object : nullptr; }
  [[nodiscard]] const Callable* callable() const { return kind_ == Kind::callable ? data_.callable : nullptr; }
  [[nodiscard]] bool is_integer() const { return kind_ == Kind::integer || kind_ == Kind::boolean; }
  [[nodiscard]] bool is_real() const { return kind_ == Kind::real; }
  [[nodiscard]] bool is_number() const { return is_integer() || is_real(); }
  [[nodiscard]] int64_t integer() const;  // of a bool or an integer
  [[nodiscard]] double number() const;    // of any number
  [[nodiscard]] bool truthy() const;
  [[nodiscard]] std::string_view type_name() const;  // as Python spells it

 private:
  enum class Kind : uint8_t { undefined, none, boolean, integer, real, string, list, dict, object, callable };
  Value(Kind kind, std::string_view text) : size_(static_cast<uint32_t>(text.size())), kind_(kind) {
    data_.text = text.data();
  }
  union {
    bool flag;
    int64_t integer;
    double real;
    const char* text;
    const List* list;
    const Dict* dict;
    Object* object;
    const Callable* callable;
  } data_ = {};
  uint32_t size_ = 0;  // of a text
  Kind kind_;
};

struct Object {
  std::map<std::string_view, Value, std::less<>, Allocator<std::pair<const std::string_view, Value>>> attributes;
  // Of a loop variable: what it goes through and where it is.
  Items items;
  size_t index = 0;
  bool is_namespace = false;
};

// A function, macro or bound method. What `function` needs beside the arguments is in the other members.
struct Callable {
  using Function = Value (*)(const Callable& self, Items positional, const Named& named);
  std::string_view name;
  Function function = nullptr;
  Value bound;                 // the object of a method
  const void* code = nullptr;  // its implementation
  void* scope = nullptr;       // where a macro was defined
  void* interpreter = nullptr;
};

[[nodiscard]] Value from_json(const json::Value& value);  // views of its strings
// What the strings and values of variables take, about.
[[nodiscard]] size_t bytes_of(const json::Object& variables);

[[nodiscard]] std::string_view to_text(const Value& value);  // Python's str()
[[nodiscard]] std::string_view repr(const Value& value);     // Python's repr()

struct JsonLayout {
  int indent = -1;  // -1 = one line
  std::string_view item_separator = ", ", key_separator = ": ";
  bool sort_keys = false, ensure_ascii = false;
};
[[nodiscard]] std::string_view to_json(const Value& value, const JsonLayout& layout);

[[nodiscard]] bool equal(const Value& a, const Value& b);
// < 0, 0, > 0; fails for values Python cannot order.
[[nodiscard]] int compare(const Value& a, const Value& b);
[[nodiscard]] bool contains(const Value& container, const Value& item);

// The items a loop sees: of a list, the keys of a dict, the characters of a string, nothing of undefined. Fails for
// others.
[[nodiscard]] Items iterate(const Value& value);
[[nodiscard]] int64_t length(const Value& value);

// Strings as Python indexes them, by code points.
[[nodiscard]] int64_t count_characters(std::string_view text);
// Where character `index` begins; the size past the end.
[[nodiscard]] size_t character_offset(std::string_view text, int64_t index);

// The first place of `part` in `text` from `at` on, npos when there is none. Linear whatever the two are.
[[nodiscard]] size_t find_text(std::string_view text, std::string_view part, size_t at = 0);

}  // namespace arkit::text::jinja
