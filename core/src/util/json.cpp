#include <arkit/json.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <fstream>
#include <iterator>

#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/error.hpp>
#include <boost/json/parse_options.hpp>
#include <boost/json/value_stack.hpp>

#include <arkit/error.h>
#include <arkit/file_start.h>
#include <arkit/str.h>

namespace arkit::json {
namespace {

constexpr size_t kMaxDepth = 64;

// Bare NaN / Infinity / -Infinity outside strings become strings "NaN" ... that get_double understands. Old configs
// have them.
std::string quote_non_finite(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      out += c;
      if (c == '\\' && i + 1 < text.size()) out += text[++i];
      if (c == '"') in_string = false;
      continue;
    }
    bool replaced = false;
    for (const std::string_view word :
         {std::string_view("-Infinity"), std::string_view("Infinity"), std::string_view("NaN")}) {
      if (text.substr(i, word.size()) == word) {
        out += '"';
        out += word;
        out += '"';
        i += word.size() - 1;
        replaced = true;
        break;
      }
    }
    if (replaced) continue;
    if (c == '"') in_string = true;
    out += c;
  }
  return out;
}

// Builds values like boost::json::parser and, unlike it, refuses an object that has the same key twice.
class StrictHandler {
 public:
  static constexpr size_t max_object_size = size_t(-1);
  static constexpr size_t max_array_size = size_t(-1);
  static constexpr size_t max_key_size = size_t(1) << 20;
  static constexpr size_t max_string_size = size_t(1) << 30;

  using error_code = boost::json::error_code;

  bool on_document_begin(error_code&) {
    stack_.reset();
    return true;
  }
  bool on_document_end(error_code&) { return true; }
  bool on_object_begin(error_code&) { return true; }
  bool on_object_end(size_t n, error_code&) {
    stack_.push_object(n);
    return true;
  }
  bool on_array_begin(error_code&) { return true; }
  bool on_array_end(size_t n, error_code&) {
    stack_.push_array(n);
    return true;
  }
  bool on_key_part(boost::json::string_view s, size_t, error_code&) {
    stack_.push_chars(s);
    return true;
  }
  bool on_key(boost::json::string_view s, size_t, error_code&) {
    stack_.push_key(s);
    return true;
  }
  bool on_string_part(boost::json::string_view s, size_t, error_code&) {
    stack_.push_chars(s);
    return true;
  }
  bool on_string(boost::json::string_view s, size_t, error_code&) {
    stack_.push_string(s);
    return true;
  }
  bool on_number_part(boost::json::string_view, error_code&) { return true; }
  bool on_int64(int64_t i, boost::json::string_view, error_code&) {
    stack_.push_int64(i);
    return true;
  }
  bool on_uint64(uint64_t u, boost::json::string_view, error_code&) {
    stack_.push_uint64(u);
    return true;
  }
  bool on_double(double d, boost::json::string_view, error_code&) {
    stack_.push_double(d);
    return true;
  }
  bool on_bool(bool b, error_code&) {
    stack_.push_bool(b);
    return true;
  }
  bool on_null(error_code&) {
    stack_.push_null();
    return true;
  }
  bool on_comment_part(boost::json::string_view, error_code&) { return true; }
  bool on_comment(boost::json::string_view, error_code&) { return true; }

  Value release() { return stack_.release(); }

 private:
  boost::json::value_stack stack_;
};

// Boost.JSON keeps the last of two equal keys silently; this pass over the text finds them. The text is known to be
// valid JSON.
void refuse_duplicate_keys(std::string_view text, std::string_view what) {
  struct Level {
    bool object;
    std::vector<std::string_view> keys;
  };
  std::vector<Level> levels;
  const auto close = [&] {
    Level& level = levels.back();
    std::sort(level.keys.begin(), level.keys.end());
    const auto twice = std::adjacent_find(level.keys.begin(), level.keys.end());
    if (twice != level.keys.end())
      throw_input(str(what, ": key '", printable(*twice), "' appears twice in one object"));
    levels.pop_back();
  };
  for (size_t i = 0; i < text.size(); ++i) {
    switch (text[i]) {
      case '{':
        levels.push_back({true, {}});
        break;
      case '[':
        levels.push_back({false, {}});
        break;
      case '}':
      case ']':
        close();
        break;
      case '"': {
        const size_t begin = ++i;
        while (text[i] != '"') i += text[i] == '\\' ? 2 : 1;
        size_t next = i + 1;
        while (next < text.size() &&
               (text[next] == ' ' || text[next] == '\n' || text[next] == '\t' || text[next] == '\r'))
          ++next;
        if (next < text.size() && text[next] == ':' && !levels.empty() && levels.back().object)
          levels.back().keys.push_back(text.substr(begin, i - begin));
        break;
      }
      default:
        break;
    }
  }
}

std::string_view type_name(const Value& value) {
  switch (value.kind()) {
    case boost::json::kind::null:
      return "null";
    case boost::json::kind::bool_:
      return "a boolean";
    case boost::json::kind::int64:
    case boost::json::kind::uint64:
      return "an integer";
    case boost::json::kind::double_:
      return "a number";
    case boost::json::kind::string:
      return "a string";
    case boost::json::kind::array:
      return "an array";
    case boost::json::kind::object:
      return "an object";
  }
  return "unknown";
}

[[noreturn]] void wrong_type(std::string_view what, std::string_view key, std::string_view expected,
                             const Value& value) {
  throw_input(str(what, ": '", key, "' is ", type_name(value), ", expected ", expected));
}

void write_string(std::string& out, std::string_view text) {
  static constexpr std::array<char, 17> kHex{"0123456789abcdef"};
  out += '"';
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          out += "\\u00";
          out += kHex[static_cast<unsigned char>(c) >> 4];
          out += kHex[static_cast<unsigned char>(c) & 15];
        } else {
          out += c;
        }
    }
  }
  out += '"';
}

// Python's repr(float): shortest digits that read back; exponent form below 1e-4 and from 1e16.
void write_double(std::string& out, double value) {
  if (std::isnan(value)) {
    out += "NaN";
    return;
  }
  if (std::isinf(value)) {
    out += value > 0 ? "Infinity" : "-Infinity";
    return;
  }
  std::array<char, 64> buffer{};
  const double magnitude = std::fabs(value);
  const bool plain = magnitude == 0.0 || (magnitude >= 1e-4 && magnitude < 1e16);
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                 plain ? std::chars_format::fixed : std::chars_format::scientific);
  const std::string_view text(buffer.data(), static_cast<size_t>(end.ptr - buffer.data()));
  out += text;
  if (plain && text.find('.') == std::string_view::npos) out += ".0";
}

void write(std::string& out, const Value& value, int indent, bool sort_keys, int level) {
  const auto newline = [&](int at) {
    if (indent > 0) {
      out += '\n';
      out.append(static_cast<size_t>(indent * at), ' ');
    }
  };
  switch (value.kind()) {
    case boost::json::kind::null:
      out += "null";
      return;
    case boost::json::kind::bool_:
      out += value.get_bool() ? "true" : "false";
      return;
    case boost::json::kind::int64:
      out += std::to_string(value.get_int64());
      return;
    case boost::json::kind::uint64:
      out += std::to_string(value.get_uint64());
      return;
    case boost::json::kind::double_:
      write_double(out, value.get_double());
      return;
    case boost::json::kind::string:
      write_string(out, value.get_string());
      return;
    case boost::json::kind::array: {
      const Array& array = value.get_array();
      if (array.empty()) {
        out += "[]";
        return;
      }
      out += '[';
      for (size_t i = 0; i < array.size(); ++i) {
        if (i > 0) out += indent > 0 ? "," : ", ";
        newline(level + 1);
        write(out, array[i], indent, sort_keys, level + 1);
      }
      newline(level);
      out += ']';
      return;
    }
    case boost::json::kind::object: {
      const Object& object = value.get_object();
      if (object.empty()) {
        out += "{}";
        return;
      }
      std::vector<const boost::json::key_value_pair*> members;
      for (const auto& member : object) members.push_back(&member);
      if (sort_keys)
        std::sort(members.begin(), members.end(), [](const auto* a, const auto* b) { return a->key() < b->key(); });
      out += '{';
      for (size_t i = 0; i < members.size(); ++i) {
        if (i > 0) out += indent > 0 ? "," : ", ";
        newline(level + 1);
        write_string(out, members[i]->key());
        out += ": ";
        write(out, members[i]->value(), indent, sort_keys, level + 1);
      }
      newline(level);
      out += '}';
      return;
    }
  }
}

}  // namespace

Value parse(std::string_view text, std::string_view what, bool allow_non_finite) {
  if (text.starts_with(kByteOrderMark))
    throw_input(
        str(what, ": starts with a byte order mark (BOM), which JSON does not allow; save it as UTF-8 without"));
  std::string repaired;
  if (allow_non_finite &&
      (text.find("Infinity") != std::string_view::npos || text.find("NaN") != std::string_view::npos)) {
    repaired = quote_non_finite(text);
    text = repaired;
  }
  boost::json::parse_options options;
  options.max_depth = kMaxDepth;
  boost::json::basic_parser<StrictHandler> parser(options);
  boost::json::error_code error;
  const size_t consumed = parser.write_some(false, text.data(), text.size(), error);
  if (!error && consumed < text.size()) error = boost::json::error::extra_data;
  if (error) throw_input(str(what, ": not valid JSON at byte ", consumed, " (", error.message(), ")"));
  refuse_duplicate_keys(text, what);
  return parser.handler().release();
}

Value read_file(const std::filesystem::path& path, int64_t max_bytes) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (error) throw_input(str("'", path.string(), "': cannot be read (", error.message(), ")"));
  if (static_cast<int64_t>(size) > max_bytes)
    throw_input(str("'", path.string(), "': has ", size, " bytes, at most ", max_bytes, " are accepted"));
  std::ifstream in(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  if (in.bad()) throw_input(str("'", path.string(), "': read error"));
  refuse_lfs_pointer(text, str("'", path.string(), "'"));
  return parse(text, str("'", path.string(), "'"), true);
}

std::string dump(const Value& value, int indent, bool sort_keys) {
  std::string out;
  write(out, value, indent, sort_keys, 0);
  return out;
}

const Value* find(const Object& object, std::string_view key) {
  const Value* value = object.if_contains(key);
  return value == nullptr || value->is_null() ? nullptr : value;
}

std::optional<int64_t> get_int(const Object& object, std::string_view key, std::string_view what) {
  const Value* value = find(object, key);
  if (value == nullptr) return std::nullopt;
  if (value->is_int64()) return value->get_int64();
  if (value->is_double() && value->get_double() == std::floor(value->get_double()) &&
      std::fabs(value->get_double()) < 9e15)
    return static_cast<int64_t>(value->get_double());
  if (value->is_number())
    throw_input(str(what, ": '", key, "' is ", dump(*value), ", expected a whole number below 2^63 in size"));
  wrong_type(what, key, "an integer", *value);
}

std::optional<double> get_double(const Object& object, std::string_view key, std::string_view what) {
  const Value* value = find(object, key);
  if (value == nullptr) return std::nullopt;
  if (value->is_number()) return value->to_number<double>();
  const Value* text = value;
  if (value->is_object()) text = find(value->get_object(), "__float__");  // transformers 5 spelling
  if (text != nullptr && text->is_string()) {
    if (text->get_string() == "Infinity") return HUGE_VAL;
    if (text->get_string() == "-Infinity") return -HUGE_VAL;
    if (text->get_string() == "NaN") return std::nan("");
  }
  wrong_type(what, key, "a number", *value);
}

std::optional<bool> get_bool(const Object& object, std::string_view key, std::string_view what) {
  const Value* value = find(object, key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_bool()) wrong_type(what, key, "true or false", *value);
  return value->get_bool();
}

std::optional<std::string> get_string(const Object& object, std::string_view key, std::string_view what) {
  const Value* value = find(object, key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) wrong_type(what, key, "a string", *value);
  return std::string(value->get_string());
}

const Object& as_object(const Value& value, std::string_view what) {
  if (!value.is_object()) throw_input(str(what, ": is ", type_name(value), ", expected an object"));
  return value.get_object();
}

const Array& as_array(const Value& value, std::string_view what) {
  if (!value.is_array()) throw_input(str(what, ": is ", type_name(value), ", expected an array"));
  return value.get_array();
}

}  // namespace arkit::json
