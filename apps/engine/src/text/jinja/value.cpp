#include "text/jinja/value.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>

#include <arkit/str.h>

#include "text/unicode.h"

namespace arkit::text::jinja {
namespace {

void append_integer(Text& out, int64_t number) {
  char buffer[24];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, number).ptr;
  out.append({buffer, static_cast<size_t>(end - buffer)});
}

void append_float(Text& out, double value) {
  if (std::isnan(value))
    out += "nan";
  else if (std::isinf(value))
    out += value > 0 ? "inf" : "-inf";
  else
    out += json::dump(json::Value(value));
}

void append_hex(Text& out, const char* format, uint32_t code) {
  char buffer[16];
  std::snprintf(buffer, sizeof buffer, format, code);
  out += buffer;
}

// Python's repr of a string: single quotes unless it holds some and no double ones; unprintable characters escaped.
void append_quoted(Text& out, std::string_view text) {
  Budget::current().scan(text.size());
  const bool doubles = text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos;
  const char quote = doubles ? '"' : '\'';
  constexpr uint16_t kPrintable = kLetter | kMark | kNumber | kPunct | kSymbol;
  out += quote;
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
  out += quote;
}

void append_repr(Text& out, const Value& value) {
  const Budget::Level level;
  Budget::current().work();
  if (value.is_string()) {
    append_quoted(out, value.string());
  } else if (const List* list = value.list()) {
    out += list->tuple ? '(' : '[';
    for (size_t i = 0; i < list->items.size(); ++i) {
      if (i > 0) out += ", ";
      append_repr(out, list->items[i]);
    }
    if (list->tuple && list->items.size() == 1) out += ',';
    out += list->tuple ? ')' : ']';
  } else if (const Dict* dict = value.dict()) {
    bool first = true;
    out += '{';
    for (const auto& [key, item] : dict->items) {
      if (!std::exchange(first, false)) out += ", ";
      append_repr(out, key);
      out += ": ";
      append_repr(out, item);
    }
    out += '}';
  } else if (value.is_undefined()) {
    out += "Undefined";
  } else if (value.object() != nullptr || value.callable() != nullptr) {
    ((out += '<') += value.type_name()) += '>';
  } else if (value.is_none()) {
    out += "None";
  } else if (value.is_boolean()) {
    out += value.truthy() ? "True" : "False";
  } else if (value.is_real()) {
    append_float(out, value.number());
  } else {
    append_integer(out, value.integer());
  }
}

class JsonWriter {
 public:
  explicit JsonWriter(const JsonLayout& layout) : layout_(layout) {}
  Text text;

  void write(const Value& value, size_t depth) {
    const Budget::Level level;
    Budget::current().work();
    if (value.is_string())
      write_string(value.string());
    else if (const List* list = value.list())
      write_items('[', ']', list->items.size(), depth, [&](size_t i) { write(list->items[i], depth + 1); });
    else if (const Dict* dict = value.dict())
      write_dict(*dict, depth);
    else if (value.is_none())
      text += "null";
    else if (value.is_boolean())
      text += value.truthy() ? "true" : "false";
    else if (value.is_integer())
      append_integer(text, value.integer());
    else if (value.is_real())
      text += json::dump(json::Value(value.number()));
    else
      fail(str("tojson: an object of type ", value.type_name(), " is not JSON serializable"));
  }

 private:
  template <typename Item>
  void write_items(char open, char close, size_t count, size_t depth, Item item) {
    text += open;
    for (size_t i = 0; i < count; ++i) {
      if (i > 0) text += layout_.item_separator;
      new_line(depth + 1);
      item(i);
    }
    if (count > 0) new_line(depth);
    text += close;
  }
  void write_dict(const Dict& dict, size_t depth) {
    auto items = dict.items;
    if (layout_.sort_keys)
      std::stable_sort(items.begin(), items.end(),
                       [](const auto& a, const auto& b) { return compare(a.first, b.first) < 0; });
    write_items('{', '}', items.size(), depth, [&](size_t i) {
      write_key(items[i].first);
      text += layout_.key_separator;
      write(items[i].second, depth + 1);
    });
  }
  void write_key(const Value& key) {
    if (key.is_string())
      write_string(key.string());
    else if (key.is_none())
      write_string("null");
    else if (key.is_boolean())
      write_string(key.truthy() ? "true" : "false");
    else
      write_string(repr(key));
  }
  void new_line(size_t depth) {
    if (layout_.indent < 0) return;
    text += '\n';
    text.append(static_cast<size_t>(layout_.indent) * depth, ' ');
  }
  // In pieces, so that a long string needs no second one of its length.
  void write_string(std::string_view string) {
    constexpr size_t kPiece = 4096;
    text += '"';
    while (!string.empty()) {
      size_t size = std::min(kPiece, string.size());
      if (size < string.size()) size = std::max<size_t>(previous_code_point(string, size + 1), 1);
      const std::string quoted = json::dump(json::Value(string.substr(0, size)));
      const std::string_view inside = std::string_view(quoted).substr(1, quoted.size() - 2);
      if (layout_.ensure_ascii)
        append_ascii(inside);
      else
        text += inside;
      string.remove_prefix(size);
    }
    text += '"';
  }
  void append_ascii(std::string_view string) {
    for (size_t at = 0; at < string.size();) {
      const CodePoint c = code_point_at(string, at);
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

size_t bytes_of(const json::Value& value) {
  size_t bytes = sizeof(Value);
  if (value.is_string()) bytes += value.get_string().size();
  if (value.is_array())
    for (const json::Value& item : value.get_array()) bytes += bytes_of(item);
  return value.is_object() ? bytes + jinja::bytes_of(value.get_object()) : bytes;
}

bool equal_dicts(const Dict& a, const Dict& b) {
  if (a.items.size() != b.items.size()) return false;
  return std::all_of(a.items.begin(), a.items.end(), [&](const auto& item) {
    const Value* other = b.find(item.first);
    return other != nullptr && equal(item.second, *other);
  });
}

}  // namespace

Value Value::list(Items items, bool tuple) {
  Value value;
  value.kind_ = Kind::list;
  value.data_.list = make_lasting(List{items, tuple});
  return value;
}
Value Value::dict(Dict items) {
  return static_cast<const Dict*>(make_lasting(std::move(items)));
}

int64_t Value::integer() const {
  if (kind_ == Kind::boolean) return data_.flag ? 1 : 0;
  if (kind_ == Kind::integer) return data_.integer;
  if (is_undefined()) fail(std::string(hint()));
  fail(str("expected an integer, got a ", type_name()));
}

double Value::number() const {
  return is_real() ? data_.real : static_cast<double>(integer());
}

bool Value::truthy() const {
  switch (kind_) {
    case Kind::undefined:
    case Kind::none:
      return false;
    case Kind::boolean:
    case Kind::integer:
    case Kind::real:
      return number() != 0.0;
    case Kind::string:
      return size_ != 0;
    case Kind::list:
      return !data_.list->items.empty();
    case Kind::dict:
      return !data_.dict->items.empty();
    default:
      return true;
  }
}

std::string_view Value::type_name() const {
  switch (kind_) {
    case Kind::undefined:
      return "Undefined";
    case Kind::none:
      return "NoneType";
    case Kind::boolean:
      return "bool";
    case Kind::integer:
      return "int";
    case Kind::real:
      return "float";
    case Kind::string:
      return "str";
    case Kind::list:
      return data_.list->tuple ? "tuple" : "list";
    case Kind::dict:
      return "dict";
    case Kind::object:
      return data_.object->is_namespace ? "Namespace" : "LoopContext";
    case Kind::callable:
      break;
  }
  return "function";
}

const Value* Dict::find(const Value& key) const {
  for (const auto& [name, value] : items)
    if (equal(name, key)) return &value;
  return nullptr;
}

void Dict::set(const Value& key, const Value& value) {
  if (const Value* old = find(key))
    *const_cast<Value*>(old) = value;  // this is not const
  else
    items.emplace_back(key, value);
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
      return Value::text(value.get_string());
    case boost::json::kind::array: {
      Values items;
      items.reserve(value.get_array().size());
      for (const json::Value& item : value.get_array()) items.push_back(from_json(item));
      return Value::list(items);
    }
    case boost::json::kind::object: {
      Dict dict;
      dict.items.reserve(value.get_object().size());
      for (const auto& member : value.get_object())
        dict.items.emplace_back(Value::text(member.key()), from_json(member.value()));
      return Value::dict(std::move(dict));
    }
  }
  return None{};
}

size_t bytes_of(const json::Object& variables) {
  size_t bytes = 0;
  for (const auto& member : variables) bytes += member.key().size() + bytes_of(member.value());
  return bytes;
}

std::string_view to_text(const Value& value) {
  if (value.is_string()) return value.string();
  if (value.is_undefined()) return {};
  return repr(value);
}

std::string_view repr(const Value& value) {
  Text out;
  append_repr(out, value);
  return out.finish();
}

std::string_view to_json(const Value& value, const JsonLayout& layout) {
  JsonWriter writer(layout);
  writer.write(value, 0);
  return writer.text.finish();
}

bool equal(const Value& a, const Value& b) {
  const Budget::Level level;
  Budget::current().work();
  if (a.is_number() && b.is_number())
    return a.is_integer() && b.is_integer() ? a.integer() == b.integer() : a.number() == b.number();
  if (a.is_string() && b.is_string()) {
    if (a.string().size() != b.string().size()) return false;
    if (a.string().data() == b.string().data()) return true;
    Budget::current().scan(a.string().size());
    return a.string() == b.string();
  }
  if (a.is_none() || a.is_undefined()) return a.is_none() == b.is_none() && a.is_undefined() == b.is_undefined();
  if (a.list() != nullptr && b.list() != nullptr)
    return a.list()->tuple == b.list()->tuple && std::equal(a.list()->items.begin(), a.list()->items.end(),
                                                            b.list()->items.begin(), b.list()->items.end(), equal);
  if (a.dict() != nullptr && b.dict() != nullptr) return equal_dicts(*a.dict(), *b.dict());
  if (a.object() != nullptr) return a.object() == b.object();
  return a.callable() != nullptr && a.callable() == b.callable();
}

int compare(const Value& a, const Value& b) {
  const Budget::Level level;
  Budget::current().work();
  if (a.is_number() && b.is_number()) {
    if (a.is_integer() && b.is_integer()) return a.integer() < b.integer() ? -1 : a.integer() > b.integer();
    return a.number() < b.number() ? -1 : a.number() > b.number();
  }
  // UTF-8 orders like code points.
  if (a.is_string() && b.is_string()) {
    Budget::current().scan(std::min(a.string().size(), b.string().size()));
    return a.string().compare(b.string());
  }
  if (a.list() != nullptr && b.list() != nullptr) {
    const Items x = a.list()->items, y = b.list()->items;
    for (size_t i = 0; i < std::min(x.size(), y.size()); ++i)
      if (!equal(x[i], y[i])) return compare(x[i], y[i]);
    return x.size() < y.size() ? -1 : x.size() > y.size();
  }
  for (const Value* value : {&a, &b})
    if (value->is_undefined()) fail(std::string(value->hint()));
  fail(str("'", a.type_name(), "' and '", b.type_name(), "' cannot be ordered"));
}

bool contains(const Value& container, const Value& item) {
  if (container.is_string()) {
    if (!item.is_string()) fail(str("'in <string>' requires a string on its left, not ", item.type_name()));
    return find_text(container.string(), item.string()) != std::string_view::npos;
  }
  if (const Dict* dict = container.dict()) return dict->find(item) != nullptr;
  const Items items = iterate(container);
  return std::any_of(items.begin(), items.end(), [&](const Value& value) { return equal(value, item); });
}

Items iterate(const Value& value) {
  if (const List* list = value.list()) return list->items;
  if (value.is_undefined()) return {};
  Values items;
  if (value.is_string()) {
    const std::string_view text = value.string();
    items.reserve(static_cast<size_t>(count_characters(text)));
    for (size_t at = 0; at < text.size();) {
      const size_t size = code_point_at(text, at).length;
      items.push_back(Value::text(text.substr(at, size)));
      at += size;
    }
    return items;
  }
  if (const Dict* dict = value.dict()) {
    items.reserve(dict->items.size());
    for (const auto& item : dict->items) items.push_back(item.first);
    return items;
  }
  fail(str("'", value.type_name(), "' object is not iterable"));
}

int64_t length(const Value& value) {
  if (const List* list = value.list()) return static_cast<int64_t>(list->items.size());
  if (const Dict* dict = value.dict()) return static_cast<int64_t>(dict->items.size());
  if (value.is_string()) return count_characters(value.string());
  if (value.is_undefined()) return 0;
  fail(str("object of type '", value.type_name(), "' has no len()"));
}

int64_t count_characters(std::string_view text) {
  Budget::current().scan(text.size());
  return std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

size_t character_offset(std::string_view text, int64_t index) {
  size_t at = 0;
  for (; index > 0 && at < text.size(); --index) at += code_point_at(text, at).length;
  Budget::current().scan(at);
  return at;
}

size_t find_text(std::string_view text, std::string_view part, size_t at) {
  if (at > text.size()) return std::string_view::npos;
  if (part.empty()) return at;
  const void* found = ::memmem(text.data() + at, text.size() - at, part.data(), part.size());
  const size_t offset =
      found == nullptr ? std::string_view::npos : static_cast<size_t>(static_cast<const char*>(found) - text.data());
  Budget::current().scan(std::min(offset, text.size()) - at + part.size());
  return offset;
}

}  // namespace arkit::text::jinja
