#pragma once
// Values of a template: Python's, as far as chat templates meet them.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <arkit/json.h>

namespace arkit::text::jinja {

class Value;
using Values = std::vector<Value>;
using Named = std::vector<std::pair<std::string, Value>>;

struct None {
  bool operator==(const None&) const = default;
};
// The value of a name or attribute that does not exist: prints as nothing, fails when used for more. `hint` is the
// failure's message.
struct Undefined {
  std::string hint;
};
struct List {
  Values items;
  bool tuple = false;
};
struct Dict {
  std::vector<std::pair<Value, Value>> items;  // in order of insertion
  [[nodiscard]] const Value* find(const Value& key) const;
  void set(Value key, Value value);
};
// Attributes by name: a namespace (writable) or the `loop` variable.
struct Object {
  std::map<std::string, Value, std::less<>> attributes;
  bool is_namespace = false;
};
struct Callable {
  std::string name;
  std::function<Value(const Values& positional, const Named& named)> call;
};

class Value {
 public:
  using Data = std::variant<Undefined, None, bool, int64_t, double, std::string, std::shared_ptr<List>,
                            std::shared_ptr<Dict>, std::shared_ptr<Object>, std::shared_ptr<Callable>>;
  Value() : data_(None{}) {}
  template <typename T>
  requires std::is_constructible_v<Data, T&&> &&(!std::is_same_v<std::remove_cvref_t<T>, Value>)Value(T&& data)
      : data_(std::forward<T>(data)) {}  // NOLINT: values convert freely
  Value(const char* text) : data_(std::string(text)) {}
  Value(std::string_view text) : data_(std::string(text)) {}
  Value(int number) : data_(int64_t{number}) {}

  static Value undefined(std::string hint) { return Value(Undefined{std::move(hint)}); }
  static Value list(Values items, bool tuple = false);
  static Value dict(Dict items);
  static Value callable(std::string name, std::function<Value(const Values&, const Named&)> call);

  template <typename T>
  [[nodiscard]] const T* get() const {
    return std::get_if<T>(&data_);
  }
  [[nodiscard]] bool is_undefined() const { return get<Undefined>() != nullptr; }
  [[nodiscard]] bool is_none() const { return get<None>() != nullptr; }
  [[nodiscard]] const std::string* string() const { return get<std::string>(); }
  [[nodiscard]] const List* list() const { return pointed<List>(); }
  [[nodiscard]] const Dict* dict() const { return pointed<Dict>(); }
  [[nodiscard]] Object* object() const { return pointed<Object>(); }
  [[nodiscard]] const Callable* callable() const { return pointed<Callable>(); }
  [[nodiscard]] bool is_integer() const { return get<int64_t>() != nullptr || get<bool>() != nullptr; }
  [[nodiscard]] bool is_number() const { return is_integer() || get<double>() != nullptr; }
  [[nodiscard]] int64_t integer() const;  // of a bool or an integer
  [[nodiscard]] double number() const;    // of any number
  [[nodiscard]] bool truthy() const;
  [[nodiscard]] std::string type_name() const;  // as Python spells it

 private:
  template <typename T>
  [[nodiscard]] T* pointed() const {
    const auto* pointer = std::get_if<std::shared_ptr<T>>(&data_);
    return pointer == nullptr ? nullptr : pointer->get();
  }
  Data data_;
};

// Throws ErrorCode::input: the template itself fails (a raised exception, a wrong type, an undefined value).
[[noreturn]] void fail(const std::string& message);

[[nodiscard]] Value from_json(const json::Value& value);

[[nodiscard]] std::string to_text(const Value& value);  // Python's str()
[[nodiscard]] std::string repr(const Value& value);     // Python's repr()

struct JsonLayout {
  int indent = -1;  // -1 = one line
  std::string item_separator = ", ", key_separator = ": ";
  bool sort_keys = false, ensure_ascii = false;
};
[[nodiscard]] std::string to_json(const Value& value, const JsonLayout& layout);

[[nodiscard]] bool equal(const Value& a, const Value& b);
// < 0, 0, > 0; fails for values Python cannot order.
[[nodiscard]] int compare(const Value& a, const Value& b);
[[nodiscard]] bool contains(const Value& container, const Value& item);

// The items a loop sees: of a list, the keys of a dict, the characters of a string, nothing of undefined. Fails for
// others.
[[nodiscard]] Values iterate(const Value& value);
[[nodiscard]] int64_t length(const Value& value);

// Code points of a string, which is what Python indexes.
[[nodiscard]] std::vector<std::string> characters(std::string_view text);

}  // namespace arkit::text::jinja
