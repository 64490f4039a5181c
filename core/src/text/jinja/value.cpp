#include "text/jinja/value.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include <arkit/error.h>
#include <arkit/str.h>

#include "text/unicode.h"

namespace arkit::text::jinja {
namespace {

constexpr int kMaxDepth = 100;

void check_depth(int depth) {
  if (depth > kMaxDepth) fail("a value is nested too deeply");
}

std::string float_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  return json::dump(json::Value(value));
}

void append_hex(std::string& out, const char* format, uint32_t code) {
  char buffer[16];
  std::snprintf(buffer, sizeof buffer, format, code);
  out += buffer;
}

// Python's repr of a string: single quotes unless it holds some and no double ones; unprintable characters escaped.
std::string quote_text(std::string_view text) {
  const bool doubles = text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos;
  const char quote = doubles ? '"' : '\'';
  constexpr uint16_t kPrintable = kLetter | kMark | kNumber | kPunct | kSymbol;
  std::string out(1, quote);
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = code_point_at(text, at);
    if (c.code == '\n')
      out += "\\n";
    else if (c.code == '\t')
      out += "\\t";
    else if (c.code == '\r')
      out += "\\r";
    else if (c.code == '\\' || c.code == static_cast<unsigned char>(quote))
      (out += '\\') += static_cast<char>(c.code);
    else if (c.code == ' ' || (class_table()[c.code] & kPrintable) != 0)
      out += text.substr(at, c.length);
    else
      append_hex(out, c.code < 0x100 ? "\\x%02x" : c.code < 0x10000 ? "\\u%04x" : "\\U%08x", c.code);
    at += c.length;
  }
  return out += quote;
}

std::string repr_at(const Value& value, int depth);

std::string joined(const Values& items, int depth) {
  std::string out;
  for (size_t i = 0; i < items.size(); ++i) out += (i > 0 ? ", " : "") + repr_at(items[i], depth);
  return out;
}

std::string repr_at(const Value& value, int depth) {
  check_depth(depth);
  if (const auto* text = value.string()) return quote_text(*text);
  if (const List* list = value.list()) {
    const std::string body = joined(list->items, depth + 1);
    if (!list->tuple) return "[" + body + "]";
    return "(" + body + (list->items.size() == 1 ? ",)" : ")");
  }
  if (const Dict* dict = value.dict()) {
    std::string out = "{";
    for (const auto& [key, item] : dict->items)
      out += (out.size() > 1 ? ", " : "") + repr_at(key, depth + 1) + ": " + repr_at(item, depth + 1);
    return out + "}";
  }
  if (value.is_undefined()) return "Undefined";
  if (value.object() != nullptr || value.callable() != nullptr) return "<" + value.type_name() + ">";
  if (value.is_none()) return "None";
  if (const bool* flag = value.get<bool>()) return *flag ? "True" : "False";
  if (const double* number = value.get<double>()) return float_text(*number);
  return std::to_string(value.integer());
}

class JsonWriter {
 public:
  explicit JsonWriter(const JsonLayout& layout) : layout_(layout) {}
  std::string text;

  void write(const Value& value, int depth) {
    check_depth(depth);
    if (const auto* string = value.string())
      write_string(*string);
    else if (const List* list = value.list())
      write_items('[', ']', list->items.size(), depth, [&](size_t i) { write(list->items[i], depth + 1); });
    else if (const Dict* dict = value.dict())
      write_dict(*dict, depth);
    else if (value.is_none())
      text += "null";
    else if (const bool* flag = value.get<bool>())
      text += *flag ? "true" : "false";
    else if (value.is_number())
      text += value.is_integer() ? std::to_string(value.integer()) : json::dump(json::Value(value.number()));
    else
      fail(str("tojson: an object of type ", value.type_name(), " is not JSON serializable"));
  }

 private:
  template <typename Item>
  void write_items(char open, char close, size_t count, int depth, Item item) {
    text += open;
    for (size_t i = 0; i < count; ++i) {
      if (i > 0) text += layout_.item_separator;
      new_line(depth + 1);
      item(i);
    }
    if (count > 0) new_line(depth);
    text += close;
  }
  void write_dict(const Dict& dict, int depth) {
    auto items = dict.items;
    if (layout_.sort_keys)
      std::stable_sort(items.begin(), items.end(),
                       [](const auto& a, const auto& b) { return compare(a.first, b.first) < 0; });
    write_items('{', '}', items.size(), depth, [&](size_t i) {
      const Value& key = items[i].first;
      if (key.string() != nullptr)
        write_string(*key.string());
      else
        write_string(JsonWriterKey(key));
      text += layout_.key_separator;
      write(items[i].second, depth + 1);
    });
  }
  static std::string JsonWriterKey(const Value& key) {
    return key.is_none() ? "null" : key.get<bool>() != nullptr ? (key.truthy() ? "true" : "false") : repr(key);
  }
  void new_line(int depth) {
    if (layout_.indent < 0) return;
    text += '\n';
    text.append(static_cast<size_t>(layout_.indent) * static_cast<size_t>(depth), ' ');
  }
  void write_string(std::string_view string) {
    if (!layout_.ensure_ascii) {
      text += json::dump(json::Value(std::string(string)));
      return;
    }
    const std::string quoted_text = json::dump(json::Value(std::string(string)));
    for (size_t at = 0; at < quoted_text.size();) {
      const CodePoint c = code_point_at(quoted_text, at);
      at += c.length;
      if (c.code < 0x80)
        text += static_cast<char>(c.code);
      else if (c.code < 0x10000)
        append_hex(text, "\\u%04x", c.code);
      else
        append_hex(text, "\\u%04x", 0xD7C0 + (c.code >> 10)), append_hex(text, "\\u%04x", 0xDC00 + (c.code & 0x3FF));
    }
  }
  const JsonLayout& layout_;
};

}  // namespace

void fail(const std::string& message) {
  throw_input("chat template: " + message);
}

Value Value::list(Values items, bool tuple) {
  return Value(std::make_shared<List>(List{std::move(items), tuple}));
}
Value Value::dict(Dict items) {
  return Value(std::make_shared<Dict>(std::move(items)));
}
Value Value::callable(std::string name, std::function<Value(const Values&, const Named&)> call) {
  return Value(std::make_shared<Callable>(Callable{std::move(name), std::move(call)}));
}

int64_t Value::integer() const {
  if (const bool* flag = get<bool>()) return *flag ? 1 : 0;
  if (const int64_t* number = get<int64_t>()) return *number;
  if (const auto* missing = get<Undefined>()) fail(missing->hint);
  fail(str("expected an integer, got a ", type_name()));
}

double Value::number() const {
  if (const double* number = get<double>()) return *number;
  return static_cast<double>(integer());
}

bool Value::truthy() const {
  if (is_undefined() || is_none()) return false;
  if (is_number()) return number() != 0.0;
  if (const auto* text = string()) return !text->empty();
  if (const List* items = list()) return !items->items.empty();
  if (const Dict* items = dict()) return !items->items.empty();
  return true;
}

std::string Value::type_name() const {
  if (is_undefined()) return "Undefined";
  if (is_none()) return "NoneType";
  if (get<bool>() != nullptr) return "bool";
  if (is_integer()) return "int";
  if (is_number()) return "float";
  if (string() != nullptr) return "str";
  if (const List* items = list()) return items->tuple ? "tuple" : "list";
  if (dict() != nullptr) return "dict";
  if (const Object* attributes = object()) return attributes->is_namespace ? "Namespace" : "LoopContext";
  return "function";
}

const Value* Dict::find(const Value& key) const {
  for (const auto& [name, value] : items)
    if (equal(name, key)) return &value;
  return nullptr;
}

void Dict::set(Value key, Value value) {
  for (auto& [name, old] : items)
    if (equal(name, key)) {
      old = std::move(value);
      return;
    }
  items.emplace_back(std::move(key), std::move(value));
}

Value from_json(const json::Value& value) {
  switch (value.kind()) {
    case boost::json::kind::null:
      return None{};
    case boost::json::kind::bool_:
      return value.get_bool();
    case boost::json::kind::int64:
      return value.get_int64();
    case boost::json::kind::uint64:
      return static_cast<double>(value.get_uint64());
    case boost::json::kind::double_:
      return value.get_double();
    case boost::json::kind::string:
      return std::string(value.get_string());
    case boost::json::kind::array: {
      Values items;
      for (const json::Value& item : value.get_array()) items.push_back(from_json(item));
      return Value::list(std::move(items));
    }
    case boost::json::kind::object: {
      Dict dict;
      for (const auto& member : value.get_object())
        dict.items.emplace_back(std::string(member.key()), from_json(member.value()));
      return Value::dict(std::move(dict));
    }
  }
  return None{};
}

std::string to_text(const Value& value) {
  if (const auto* text = value.string()) return *text;
  if (value.is_undefined()) return {};
  return repr(value);
}

std::string repr(const Value& value) {
  return repr_at(value, 0);
}

std::string to_json(const Value& value, const JsonLayout& layout) {
  JsonWriter writer(layout);
  writer.write(value, 0);
  return std::move(writer.text);
}

bool equal(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number())
    return a.is_integer() && b.is_integer() ? a.integer() == b.integer() : a.number() == b.number();
  if (a.string() != nullptr && b.string() != nullptr) return *a.string() == *b.string();
  if (a.is_none() || a.is_undefined()) return a.is_none() == b.is_none() && a.is_undefined() == b.is_undefined();
  if (a.list() != nullptr && b.list() != nullptr)
    return a.list()->tuple == b.list()->tuple && std::equal(a.list()->items.begin(), a.list()->items.end(),
                                                            b.list()->items.begin(), b.list()->items.end(), equal);
  if (a.dict() != nullptr && b.dict() != nullptr) {
    if (a.dict()->items.size() != b.dict()->items.size()) return false;
    return std::all_of(a.dict()->items.begin(), a.dict()->items.end(), [&](const auto& item) {
      const Value* other = b.dict()->find(item.first);
      return other != nullptr && equal(item.second, *other);
    });
  }
  if (a.object() != nullptr) return a.object() == b.object();
  return a.callable() != nullptr && a.callable() == b.callable();
}

int compare(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    if (a.is_integer() && b.is_integer()) return a.integer() < b.integer() ? -1 : a.integer() > b.integer();
    return a.number() < b.number() ? -1 : a.number() > b.number();
  }
  // UTF-8 orders like code points.
  if (a.string() != nullptr && b.string() != nullptr) return a.string()->compare(*b.string());
  if (a.list() != nullptr && b.list() != nullptr) {
    const Values &x = a.list()->items, &y = b.list()->items;
    for (size_t i = 0; i < std::min(x.size(), y.size()); ++i)
      if (!equal(x[i], y[i])) return compare(x[i], y[i]);
    return x.size() < y.size() ? -1 : x.size() > y.size();
  }
  for (const Value* value : {&a, &b})
    if (const auto* missing = value->get<Undefined>()) fail(missing->hint);
  fail(str("'", a.type_name(), "' and '", b.type_name(), "' cannot be ordered"));
}

bool contains(const Value& container, const Value& item) {
  if (const auto* text = container.string()) {
    if (item.string() == nullptr) fail(str("'in <string>' requires a string on its left, not ", item.type_name()));
    return text->find(*item.string()) != std::string::npos;
  }
  if (const Dict* dict = container.dict()) return dict->find(item) != nullptr;
  const Values items = iterate(container);
  return std::any_of(items.begin(), items.end(), [&](const Value& value) { return equal(value, item); });
}

std::vector<std::string> characters(std::string_view text) {
  std::vector<std::string> out;
  for (size_t at = 0; at < text.size();) {
    const size_t size = code_point_at(text, at).length;
    out.emplace_back(text.substr(at, size));
    at += size;
  }
  return out;
}

Values iterate(const Value& value) {
  if (const List* list = value.list()) return list->items;
  if (value.is_undefined()) return {};
  Values items;
  if (const auto* text = value.string()) {
    for (std::string& character : characters(*text)) items.emplace_back(std::move(character));
    return items;
  }
  if (const Dict* dict = value.dict()) {
    for (const auto& item : dict->items) items.push_back(item.first);
    return items;
  }
  fail(str("'", value.type_name(), "' object is not iterable"));
}

int64_t length(const Value& value) {
  if (const List* list = value.list()) return static_cast<int64_t>(list->items.size());
  if (const Dict* dict = value.dict()) return static_cast<int64_t>(dict->items.size());
  if (const auto* text = value.string()) return static_cast<int64_t>(characters(*text).size());
  if (value.is_undefined()) return 0;
  fail(str("object of type '", value.type_name(), "' has no len()"));
}

}  // namespace arkit::text::jinja
