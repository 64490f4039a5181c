// Methods of strings, lists and dicts.

#include <algorithm>
#include <array>
#include <functional>
#include <unordered_map>

#include <arkit/error.h>
#include <arkit/str.h>

#include "text/jinja/builtins.h"
#include "text/unicode.h"

namespace arkit::text::jinja {
namespace {

using Method = Value (*)(const Value& self, Arguments& arguments);
using MethodTable = std::unordered_map<std::string, Method>;

const std::string& text_of(const Value& self) {
  return *self.string();
}

Value strings(const std::vector<std::string>& parts) {
  Values items;
  for (const std::string& part : parts) items.emplace_back(part);
  return Value::list(std::move(items));
}

// str.split / rsplit with a separator, at most `most` cuts (< 0 = all).
std::vector<std::string> split_at(const std::string& text, const std::string& separator, int64_t most,
                                  bool from_right) {
  if (separator.empty()) fail("split() got an empty separator");
  std::vector<std::string> parts;
  if (!from_right) {
    size_t at = 0;
    for (size_t found = text.find(separator); found != std::string::npos && most != 0;
         found = text.find(separator, at), --most) {
      parts.push_back(text.substr(at, found - at));
      at = found + separator.size();
    }
    parts.push_back(text.substr(at));
    return parts;
  }
  size_t end = text.size();
  while (most-- != 0 && end >= separator.size()) {
    const size_t found = text.rfind(separator, end - separator.size());
    if (found == std::string::npos) break;
    parts.push_back(text.substr(found + separator.size(), end - found - separator.size()));
    end = found;
  }
  parts.push_back(text.substr(0, end));
  std::reverse(parts.begin(), parts.end());
  return parts;
}

// str.split() without a separator: runs of white space.
std::vector<std::string> split_blanks(const std::string& text, int64_t most, bool from_right) {
  if (from_right && most >= 0) throw_unsupported("chat template: rsplit() with maxsplit needs a separator here");
  std::vector<std::string> parts;
  std::string rest = stripped(text, nullptr, true, false);
  while (!rest.empty()) {
    if (most-- == 0) {
      parts.push_back(stripped(rest, nullptr, false, true));
      break;
    }
    size_t end = 0;
    while (end < rest.size() && (class_table()[code_point_at(rest, end).code] & kSpace) == 0)
      end += code_point_at(rest, end).length;
    parts.push_back(rest.substr(0, end));
    rest = stripped(rest.substr(end), nullptr, true, false);
  }
  return parts;
}

Value split_text(const Value& self, Arguments& arguments, bool from_right) {
  const Value* separator = arguments.next("sep");
  const int64_t most = arguments.integer("maxsplit", -1);
  if (separator == nullptr || separator->is_none()) return strings(split_blanks(text_of(self), most, from_right));
  return strings(split_at(text_of(self), to_text(*separator), most, from_right));
}

std::vector<std::string> lines_of(const std::string& text, bool keep_ends) {
  std::vector<std::string> lines;
  size_t begin = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '\n' && text[at] != '\r') continue;
    const size_t end = at;
    if (text[at] == '\r' && at + 1 < text.size() && text[at + 1] == '\n') ++at;
    lines.push_back(text.substr(begin, (keep_ends ? at + 1 : end) - begin));
    begin = at + 1;
  }
  if (begin < text.size()) lines.push_back(text.substr(begin));
  return lines;
}

// A prefix or suffix, or a tuple of them.
bool has_affix(const Value& self, const Value& affix, bool (*test)(const std::string&, const std::string&)) {
  if (affix.list() == nullptr) return test(text_of(self), to_text(affix));
  const Values& choices = affix.list()->items;
  return std::any_of(choices.begin(), choices.end(), [&](const Value& v) { return test(text_of(self), to_text(v)); });
}
bool begins(const std::string& text, const std::string& affix) {
  return text.starts_with(affix);
}
bool ends(const std::string& text, const std::string& affix) {
  return text.ends_with(affix);
}

// str.title: a letter after a non-letter is a capital, others are small.
std::string titled(const std::string& text) {
  std::string out;
  bool after_letter = false;
  for (const std::string& character : characters(text)) {
    const bool letter = (class_table()[code_point_at(character, 0).code] & kLetter) != 0;
    out += letter && !after_letter ? upper_text(character) : to_lower(character);
    after_letter = letter;
  }
  return out;
}

int64_t index_in_characters(const std::string& text, size_t byte) {
  return byte == std::string::npos ? -1
                                   : static_cast<int64_t>(characters(std::string_view(text).substr(0, byte)).size());
}

int64_t occurrences(const std::string& text, const std::string& part) {
  if (part.empty()) return static_cast<int64_t>(characters(text).size()) + 1;
  int64_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++count;
  return count;
}

bool all_of_class(const std::string& text, uint16_t mask) {
  if (text.empty()) return false;
  for (size_t at = 0; at < text.size(); at += code_point_at(text, at).length)
    if ((class_table()[code_point_at(text, at).code] & mask) == 0) return false;
  return true;
}

// isupper / islower: at least one cased letter and none of the other case.
bool cased(const std::string& text, uint16_t wanted, uint16_t other) {
  bool any = false;
  for (size_t at = 0; at < text.size(); at += code_point_at(text, at).length) {
    const uint16_t flags = class_table()[code_point_at(text, at).code];
    if ((flags & other) != 0) return false;
    any = any || (flags & wanted) != 0;
  }
  return any;
}

// "{} {0} {name}" without format specifications.
Value format_braces(const std::string& format, const Values& positional, const Named& named) {
  std::string out;
  size_t automatic = 0;
  for (size_t i = 0; i < format.size(); ++i) {
    const char c = format[i];
    if ((c == '{' || c == '}') && i + 1 < format.size() && format[i + 1] == c) {
      out += c;
      ++i;
      continue;
    }
    if (c != '{') {
      out += c;
      continue;
    }
    const size_t end = format.find('}', i);
    const std::string field = end == std::string::npos ? "" : format.substr(i + 1, end - i - 1);
    if (end == std::string::npos || field.find_first_of(":!.[{") != std::string::npos)
      throw_unsupported(str("chat template: the format field '{", printable(field, 40), "' is not supported"));
    const bool number = field.find_first_not_of("0123456789") == std::string::npos;
    const Value* value = nullptr;
    if (number && field.size() < 9) {
      const size_t index = field.empty() ? automatic++ : static_cast<size_t>(std::stoul(field));
      if (index < positional.size()) value = &positional[index];
    }
    for (const auto& [name, given] : named)
      if (name == field) value = &given;
    if (value == nullptr) fail(str("format() has no value for '{", printable(field, 40), "}'"));
    out += to_text(*value);
    i = end;
  }
  return out;
}

const MethodTable& string_methods() {
  using A = Arguments;
  static const MethodTable table{
      {"strip", [](const Value& s, A& a) -> Value { return stripped(text_of(s), a.next("chars"), true, true); }},
      {"lstrip", [](const Value& s, A& a) -> Value { return stripped(text_of(s), a.next("chars"), true, false); }},
      {"rstrip", [](const Value& s, A& a) -> Value { return stripped(text_of(s), a.next("chars"), false, true); }},
      {"split", [](const Value& s, A& a) -> Value { return split_text(s, a, false); }},
      {"rsplit", [](const Value& s, A& a) -> Value { return split_text(s, a, true); }},
      {"splitlines",
       [](const Value& s, A& a) -> Value { return strings(lines_of(text_of(s), a.flag("keepends", false))); }},
      {"startswith", [](const Value& s, A& a) -> Value { return has_affix(s, a.required("prefix"), begins); }},
      {"endswith", [](const Value& s, A& a) -> Value { return has_affix(s, a.required("suffix"), ends); }},
      {"replace",
       [](const Value& s, A& a) -> Value {
         const std::string from = to_text(a.required("old")), to = to_text(a.required("new"));
         return replaced(text_of(s), from, to, a.integer("count", -1));
       }},
      {"upper", [](const Value& s, A&) -> Value { return upper_text(text_of(s)); }},
      {"lower", [](const Value& s, A&) -> Value { return to_lower(text_of(s)); }},
      {"title", [](const Value& s, A&) -> Value { return titled(text_of(s)); }},
      {"capitalize", [](const Value& s, A&) -> Value { return capitalized(text_of(s)); }},
      {"join",
       [](const Value& s, A& a) -> Value {
         std::string out;
         bool first = true;
         for (const Value& item : iterate(a.required("iterable"))) {
           if (item.string() == nullptr) fail(str("join() expects strings, found ", item.type_name()));
           if (!std::exchange(first, false)) out += text_of(s);
           out += *item.string();
         }
         return out;
       }},
      {"find",
       [](const Value& s, A& a) -> Value {
         return index_in_characters(text_of(s), text_of(s).find(to_text(a.required("sub"))));
       }},
      {"rfind",
       [](const Value& s, A& a) -> Value {
         return index_in_characters(text_of(s), text_of(s).rfind(to_text(a.required("sub"))));
       }},
      {"index",
       [](const Value& s, A& a) -> Value {
         const size_t found = text_of(s).find(to_text(a.required("sub")));
         if (found == std::string::npos) fail("substring not found");
         return index_in_characters(text_of(s), found);
       }},
      {"count", [](const Value& s, A& a) -> Value { return occurrences(text_of(s), to_text(a.required("sub"))); }},
      {"isdigit", [](const Value& s, A&) -> Value { return all_of_class(text_of(s), kNumber); }},
      {"isalpha", [](const Value& s, A&) -> Value { return all_of_class(text_of(s), kLetter); }},
      {"isalnum", [](const Value& s, A&) -> Value { return all_of_class(text_of(s), kLetter | kNumber); }},
      {"isspace", [](const Value& s, A&) -> Value { return all_of_class(text_of(s), kSpace); }},
      {"isupper", [](const Value& s, A&) -> Value { return cased(text_of(s), kLu, kLl); }},
      {"islower", [](const Value& s, A&) -> Value { return cased(text_of(s), kLl, kLu); }},
      {"removeprefix",
       [](const Value& s, A& a) -> Value {
         const std::string prefix = to_text(a.required("prefix"));
         return text_of(s).starts_with(prefix) ? text_of(s).substr(prefix.size()) : text_of(s);
       }},
      {"removesuffix", [](const Value& s, A& a) -> Value {
         const std::string suffix = to_text(a.required("suffix"));
         return text_of(s).ends_with(suffix) ? text_of(s).substr(0, text_of(s).size() - suffix.size()) : text_of(s);
       }}};
  return table;
}

Value pairs_of(const Dict& dict) {
  Values items;
  for (const auto& [key, value] : dict.items) items.push_back(Value::list({key, value}, true));
  return Value::list(std::move(items));
}

const MethodTable& dict_methods() {
  using A = Arguments;
  static const MethodTable table{{"get",
                                  [](const Value& s, A& a) -> Value {
                                    const Value* found = s.dict()->find(a.required("key"));
                                    const Value* otherwise = a.next("default");
                                    if (found != nullptr) return *found;
                                    return otherwise == nullptr ? Value(None{}) : *otherwise;
                                  }},
                                 {"items", [](const Value& s, A&) -> Value { return pairs_of(*s.dict()); }},
                                 {"keys", [](const Value& s, A&) -> Value { return Value::list(iterate(s)); }},
                                 {"values",
                                  [](const Value& s, A&) -> Value {
                                    Values items;
                                    for (const auto& item : s.dict()->items) items.push_back(item.second);
                                    return Value::list(std::move(items));
                                  }},
                                 {"copy", [](const Value& s, A&) -> Value { return Value::dict(*s.dict()); }}};
  return table;
}

const MethodTable& list_methods() {
  using A = Arguments;
  static const MethodTable table{
      {"index",
       [](const Value& s, A& a) -> Value {
         const Value& wanted = a.required("value");
         const Values& items = s.list()->items;
         for (size_t i = 0; i < items.size(); ++i)
           if (equal(items[i], wanted)) return static_cast<int64_t>(i);
         fail(str(repr(wanted), " is not in list"));
       }},
      {"count",
       [](const Value& s, A& a) -> Value {
         const Value& wanted = a.required("value");
         const Values& items = s.list()->items;
         return static_cast<int64_t>(
             std::count_if(items.begin(), items.end(), [&](const Value& item) { return equal(item, wanted); }));
       }},
      {"copy", [](const Value& s, A&) -> Value { return Value::list(s.list()->items); }}};
  return table;
}

bool mutates(const Value& object, const std::string& name) {
  static constexpr std::array<std::string_view, 8> kList{"append", "extend", "insert", "pop",
                                                         "remove", "clear",  "sort",   "reverse"};
  static constexpr std::array<std::string_view, 5> kDict{"clear", "pop", "popitem", "setdefault", "update"};
  if (object.list() != nullptr) return std::find(kList.begin(), kList.end(), name) != kList.end();
  return object.dict() != nullptr && std::find(kDict.begin(), kDict.end(), name) != kDict.end();
}

}  // namespace

Value bind_method(const Value& object, const std::string& name) {
  const MethodTable* table = object.string() != nullptr ? &string_methods()
                             : object.dict() != nullptr ? &dict_methods()
                             : object.list() != nullptr ? &list_methods()
                                                        : nullptr;
  if (table == nullptr) return Value::undefined("");
  if (mutates(object, name))
    fail(str("access to attribute '", name, "' of '", object.type_name(), "' object is unsafe"));
  if (object.string() != nullptr && name == "format")
    return Value::callable(name, [object](const Values& positional, const Named& named) {
      return format_braces(*object.string(), positional, named);
    });
  const auto found = table->find(name);
  if (found == table->end()) return Value::undefined("");
  return Value::callable(name, [object, method = found->second, name](const Values& positional, const Named& named) {
    Arguments arguments(name, positional, named);
    Value result = method(object, arguments);
    arguments.finish();
    return result;
  });
}

}  // namespace arkit::text::jinja
