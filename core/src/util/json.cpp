#include <arkit/json.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <limits>
#include <utility>

#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/error.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/parse_options.hpp>
#include <boost/json/value_stack.hpp>

#include <arkit/error.h>
#include <arkit/file_start.h>
#include <arkit/input_file.h>
#include <arkit/str.h>

namespace arkit::json {
namespace {

constexpr size_t kMaxDepth = 64;

// Counts the values of a text as it comes in, by what separates them: [] takes three bytes of a file and fifty of
// memory, so a text has a limit of values. A vocabulary of 260,000 tokens with its merges, the largest honest file, has
// 2.3 million in 33 MB. A key counts for two values.
class ValueCount {
 public:
  explicit ValueCount(size_t bytes) : bytes_(bytes), left_(most()) {}

  void add(std::string_view part, std::string_view what) {
    for (const char c : part) {
      if (std::exchange(escaped_, false)) continue;
      if (c == '"')
        in_string_ = !in_string_;
      else if (in_string_)
        escaped_ = c == '\\';
      else if (c == ',' || c == '[' || c == '{' || c == ':')
        take(c == ':' ? 2 : 1, what);
    }
  }

 private:
  static constexpr size_t kBaseValues = 1'000'000;
  static constexpr size_t kBytesPerValue = 12;
  static constexpr size_t kMostBytes = size_t{36} << 20;

  [[nodiscard]] size_t most() const { return kBaseValues + std::min(bytes_, kMostBytes) / kBytesPerValue; }
  void take(size_t values, std::string_view what) {
    if (values > left_)
      throw_input(str(what, ": has more than ", most(), " values, the limit for a text of ", bytes_, " bytes"));
    left_ -= values;
  }

  size_t bytes_, left_;
  bool in_string_ = false, escaped_ = false;
};

// A number that no 64-bit integer and no double holds (12345678901234567890123, 1e400) lives on as a string: this byte,
// which no valid text contains, and its own digits. write() gives the digits back.
constexpr char kOwnDigits = '\xFF';

bool has_own_digits(const Value& value) {
  return value.is_string() && value.get_string().starts_with(kOwnDigits);
}

std::string_view own_digits(const Value& value) {
  return std::string_view(value.get_string()).substr(1);
}

struct NonFinite {
  std::string_view word;
  double value;
};
constexpr std::array kNonFinite = {NonFinite{"-Infinity", -HUGE_VAL}, NonFinite{"Infinity", HUGE_VAL},
                                   NonFinite{"NaN", std::numeric_limits<double>::quiet_NaN()}};

constexpr std::string_view kStandIn = "0.0";

// Bare NaN, Infinity and -Infinity outside strings, which Python writes, become kStandIn; `places` says where in the
// new text, in order, and what each stood for.
std::string replace_non_finite(std::string_view text, std::vector<std::pair<size_t, double>>& places) {
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
    const auto* found = std::find_if(kNonFinite.begin(), kNonFinite.end(), [&](const NonFinite& entry) {
      return text.substr(i, entry.word.size()) == entry.word;
    });
    if (found != kNonFinite.end()) {
      places.emplace_back(out.size(), found->value);
      out += kStandIn;
      i += found->word.size() - 1;
      continue;
    }
    if (c == '"') in_string = true;
    out += c;
  }
  return out;
}

// The nearest double; nullopt where that is infinite, or zero for digits that are not.
std::optional<double> nearest_double(std::string_view digits) {
  double value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  const std::string_view mantissa = digits.substr(0, digits.find_first_of("eE"));
  const bool lost = value == 0 && mantissa.find_first_of("123456789") != std::string_view::npos;
  if (error != std::errc() || lost) return std::nullopt;
  return value;
}

// Builds values like boost::json::parser, which rounds numbers carelessly and those out of range altogether.
class StrictHandler {
 public:
  struct NonFinitePlaces {
    const char* text = nullptr;
    std::vector<std::pair<size_t, double>> values;
    size_t next = 0;
  };
  NonFinitePlaces non_finite;

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
  bool on_double(double, boost::json::string_view digits, error_code&) {
    if (digits == kStandIn && non_finite.next < non_finite.values.size() &&
        digits.data() == non_finite.text + non_finite.values[non_finite.next].first) {
      stack_.push_double(non_finite.values[non_finite.next++].second);
      return true;
    }
    const bool whole = digits.find_first_of(".eE") == boost::json::string_view::npos;
    const std::optional<double> value = whole ? std::nullopt : nearest_double(digits);
    if (value)
      stack_.push_double(*value);
    else
      stack_.push_string(kOwnDigits + std::string(digits));
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
  std::deque<std::string> unescaped;  // what keys with escapes spell
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
        if (next < text.size() && text[next] == ':' && !levels.empty() && levels.back().object) {
          std::string_view key = text.substr(begin, i - begin);
          if (key.find('\\') != std::string_view::npos) {
            const Value spelled = boost::json::parse(str('"', key, '"'));
            key = unescaped.emplace_back(spelled.get_string());
          }
          levels.back().keys.push_back(key);
        }
        break;
      }
      default:
        break;
    }
  }
}

std::string_view type_name(const Value& value) {
  if (has_own_digits(value)) return "a number out of range";
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

// Bytes of the UTF-8 character that begins at text[i]; 0 = there is none (an overlong form, a surrogate, a lone byte).
size_t utf8_length(std::string_view text, size_t i) {
  const auto byte = [&](size_t at) { return at < text.size() ? static_cast<unsigned char>(text[at]) : 0U; };
  const unsigned first = byte(i);
  if (first < 0x80) return 1;
  const size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4) return 0;
  for (size_t k = 1; k < length; ++k)
    if ((byte(i + k) & 0xC0) != 0x80) return 0;
  const unsigned second = byte(i + 1);
  const bool wrong = (first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F) ||
                     (first == 0xF0 && second < 0x90) || (first == 0xF4 && second > 0x8F);
  return wrong ? 0 : length;
}

// Paths may hold bytes that are no UTF-8, and JSON may not: those appear as the text "\xff".
void write_string(std::string& out, std::string_view text) {
  static constexpr std::array<char, 17> kHex{"0123456789abcdef"};
  out += '"';
  size_t left = 0;  // bytes of a character that is being copied
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (left == 0 && (left = utf8_length(text, i)) == 0) {
      out += "\\\\x";
      out += kHex[static_cast<unsigned char>(c) >> 4];
      out += kHex[static_cast<unsigned char>(c) & 15];
      continue;
    }
    --left;
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
      if (has_own_digits(value))
        out += own_digits(value);
      else
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

namespace {

Value parse_counted(std::string_view text, std::string_view what, bool allow_non_finite) {
  if (text.starts_with(kByteOrderMark))
    throw_input(
        str(what, ": starts with a byte order mark (BOM), which JSON does not allow; save it as UTF-8 without"));
  boost::json::parse_options options;
  options.max_depth = kMaxDepth;
  boost::json::basic_parser<StrictHandler> parser(options);
  std::string repaired;
  if (allow_non_finite &&
      (text.find("Infinity") != std::string_view::npos || text.find("NaN") != std::string_view::npos)) {
    StrictHandler::NonFinitePlaces& places = parser.handler().non_finite;
    repaired = replace_non_finite(text, places.values);
    text = repaired;
    places.text = text.data();
  }
  boost::json::error_code error;
  const size_t consumed = parser.write_some(false, text.data(), text.size(), error);
  if (!error && consumed < text.size()) error = boost::json::error::extra_data;
  if (error) throw_input(str(what, ": not valid JSON at byte ", consumed, " (", error.message(), ")"));
  const StrictHandler::NonFinitePlaces& places = parser.handler().non_finite;
  if (places.next < places.values.size())  // "-NaN", "1Infinity"
    throw_input(str(what, ": not valid JSON (NaN or Infinity as a part of something else)"));
  refuse_duplicate_keys(text, what);
  return parser.handler().release();
}

}  // namespace

Value parse(std::string_view text, std::string_view what, bool allow_non_finite) {
  ValueCount(text.size()).add(text, what);
  return parse_counted(text, what, allow_non_finite);
}

Value read_file(const std::filesystem::path& path, int64_t max_bytes) {
  check_input_file(path, max_bytes);
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (error) throw_input(str("'", path.string(), "': cannot be read (", error.message(), ")"));
  // Counted while it is read: a file of brackets is refused before it is in memory.
  const std::string what = str("'", path.string(), "'");
  constexpr size_t kPart = size_t{1} << 20;
  ValueCount count(size);
  std::ifstream in(path, std::ios::binary);
  std::string text;
  text.reserve(size);
  while (in && static_cast<int64_t>(text.size()) <= max_bytes) {
    const size_t before = text.size();
    text.resize(before + std::min(kPart, std::max<size_t>(size - std::min<size_t>(before, size), 1)));
    in.read(text.data() + before, static_cast<std::streamsize>(text.size() - before));
    text.resize(before + static_cast<size_t>(in.gcount()));
    count.add(std::string_view(text).substr(before), what);
  }
  if (in.bad() || text.size() != size) throw_input(str(what, ": read error"));
  refuse_lfs_pointer(text, what);
  return parse_counted(text, what, true);
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
  if (value->is_number() || has_own_digits(*value))
    throw_input(str(what, ": '", key, "' is ", dump(*value), ", expected a whole number below 2^63 in size"));
  wrong_type(what, key, "an integer", *value);
}

std::optional<double> get_double(const Object& object, std::string_view key, std::string_view what) {
  const Value* value = find(object, key);
  if (value == nullptr) return std::nullopt;
  if (value->is_number()) return value->to_number<double>();
  if (has_own_digits(*value)) return std::strtod(std::string(own_digits(*value)).c_str(), nullptr);
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
  if (!value->is_string() || has_own_digits(*value)) wrong_type(what, key, "a string", *value);
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
