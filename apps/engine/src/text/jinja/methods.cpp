// Methods of strings, lists and dicts.

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <unordered_map>
#include <utility>

#include <arkit/error.h>
#include <arkit/str.h>

#include "text/jinja/builtins.h"
#include "text/unicode.h"

namespace arkit::text::jinja {
namespace {

using Method = Value (*)(const Value& self, Arguments& arguments);
using MethodTable = std::unordered_map<std::string_view, Method>;

// The last place of `part` in `text` that ends at `end` or before.
size_t find_last(std::string_view text, std::string_view part, size_t end) {
  if (part.size() > end) return std::string_view::npos;
  if (part.empty()) return end;
  Budget& budget = Budget::current();
  while (end >= part.size()) {  // at each place where its last byte stands
    const void* const last = ::memrchr(text.data() + part.size() - 1, part.back(), end - part.size() + 1);
    if (last == nullptr) break;
    const size_t found = static_cast<size_t>(static_cast<const char*>(last) - text.data()) + 1;
    budget.scan(end - found + part.size());
    if (text.substr(found - part.size(), part.size()) == part) return found - part.size();
    end = found - 1;
  }
  budget.scan(end);
  return std::string_view::npos;
}

// str.split / rsplit with a separator, at most `most` cuts (< 0 = all).
Value split_at(std::string_view text, std::string_view separator, int64_t most, bool from_right) {
  if (separator.empty()) fail("split() got an empty separator");
  Values parts;
  if (!from_right) {
    size_t at = 0;
    while (most != 0) {
      const size_t found = find_text(text, separator, at);
      if (found == std::string_view::npos) break;
      parts.push_back(Value::text(text.substr(at, found - at)));
      at = found + separator.size();
      --most;
    }
    parts.push_back(Value::text(text.substr(at)));
    return Value::list(parts);
  }
  size_t end = text.size();
  while (most-- != 0 && end >= separator.size()) {
    const size_t found = find_last(text, separator, end);
    if (found == std::string_view::npos) break;
    parts.push_back(Value::text(text.substr(found + separator.size(), end - found - separator.size())));
    end = found;
  }
  parts.push_back(Value::text(text.substr(0, end)));
  std::reverse(parts.begin(), parts.end());
  return Value::list(parts);
}

// str.split() without a separator: runs of white space.
Value split_blanks(std::string_view text, int64_t most, bool from_right) {
  if (from_right && most >= 0) throw_unsupported("chat template: rsplit() with maxsplit needs a separator here");
  Values parts;
  std::string_view rest = stripped(text, nullptr, true, false);
  while (!rest.empty()) {
    if (most-- == 0) {
      parts.push_back(Value::text(stripped(rest, nullptr, false, true)));
      break;
    }
    size_t end = 0;
    while (end < rest.size() && (class_table()[code_point_at(rest, end).code] & kSpace) == 0)
      end += code_point_at(rest, end).length;
    Budget::current().scan(end);
    parts.push_back(Value::text(rest.substr(0, end)));
    rest = stripped(rest.substr(end), nullptr, true, false);
  }
  return Value::list(parts);
}

Value split_text(const Value& self, Arguments& arguments, bool from_right) {
  const Value* separator = arguments.next("sep");
  const int64_t most = arguments.integer("maxsplit", -1);
  if (separator == nullptr || separator->is_none()) return split_blanks(self.string(), most, from_right);
  return split_at(self.string(), to_text(*separator), most, from_right);
}

Value lines_of(std::string_view text, bool keep_ends) {
  Budget::current().scan(text.size());
  Values lines;
  size_t begin = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '\n' && text[at] != '\r') continue;
    const size_t end = at;
    if (text[at] == '\r' && at + 1 < text.size() && text[at + 1] == '\n') ++at;
    lines.push_back(Value::text(text.substr(begin, (keep_ends ? at + 1 : end) - begin)));
    begin = at + 1;
  }
  if (begin < text.size()) lines.push_back(Value::text(text.substr(begin)));
  return Value::list(lines);
}

// A prefix or suffix, or a tuple of them.
template <typename Test>
bool has_affix(const Value& self, const Value& affix, Test test) {
  const auto has = [&](const Value& value) {
    const std::string_view part = to_text(value);
    Budget::current().scan(part.size());
    return test(self.string(), part);
  };
  if (affix.list() == nullptr) return has(affix);
  return std::any_of(affix.list()->items.begin(), affix.list()->items.end(), has);
}
bool begins(std::string_view text, std::string_view affix) {
  return text.starts_with(affix);
}
bool ends(std::string_view text, std::string_view affix) {
  return text.ends_with(affix);
}

// str.title: a letter after a non-letter is a capital, others are small.
Value titled(std::string_view text) {
  Text out;
  bool after_letter = false;
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = code_point_at(text, at);
    const std::string_view character = text.substr(at, c.length);
    const bool letter = (class_table()[c.code] & kLetter) != 0;
    out += (letter && !after_letter ? upper_text(character) : lower_text(character)).string();
    after_letter = letter;
    at += c.length;
  }
  return Value::text(out.finish());
}

Value index_in_characters(std::string_view text, size_t byte) {
  return byte == std::string_view::npos ? int64_t{-1} : count_characters(text.substr(0, byte));
}

int64_t occurrences(std::string_view text, std::string_view part) {
  if (part.empty()) return count_characters(text) + 1;
  int64_t count = 0;
  for (size_t at = find_text(text, part); at != std::string_view::npos; at = find_text(text, part, at + part.size()))
    ++count;
  return count;
}

bool all_of_class(std::string_view text, uint16_t mask) {
  if (text.empty()) return false;
  Budget::current().scan(text.size());
  for (size_t at = 0; at < text.size(); at += code_point_at(text, at).length)
    if ((class_table()[code_point_at(text, at).code] & mask) == 0) return false;
  return true;
}

// isupper / islower: at least one cased letter and none of the other case.
bool cased(std::string_view text, uint16_t wanted, uint16_t other) {
  Budget::current().scan(text.size());
  bool any = false;
  for (size_t at = 0; at < text.size(); at += code_point_at(text, at).length) {
    const uint16_t flags = class_table()[code_point_at(text, at).code];
    if ((flags & other) != 0) return false;
    any = any || (flags & wanted) != 0;
  }
  return any;
}

// "{} {0} {name}" without format specifications.
Value format_braces(const Callable& self, Items positional, const Named& named) {
  const std::string_view format = self.bound.string();
  Text out;
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
    Budget::current().work(1 + static_cast<int64_t>(named.size()));
    const size_t end = format.find('}', i);
    const std::string_view field = end == std::string_view::npos ? "" : format.substr(i + 1, end - i - 1);
    if (end == std::string_view::npos || field.find_first_of(":!.[{") != std::string_view::npos)
      throw_unsupported(str("chat template: the format field '{", printable(field, 40), "' is not supported"));
    const bool number = field.find_first_not_of("0123456789") == std::string_view::npos;
    const Value* value = nullptr;
    if (number && field.size() < 9) {
      const size_t index = field.empty() ? automatic++ : static_cast<size_t>(std::stoul(std::string(field)));
      if (index < positional.size()) value = &positional[index];
    }
    for (const auto& [name, given] : named)
      if (name == field) value = &given;
    if (value == nullptr) fail(str("format() has no value for '{", printable(field, 40), "}'"));
    out += to_text(*value);
    i = end;
  }
  return Value::text(out.finish());
}

Value joined(std::string_view separator, const Value& iterable) {
  Text out;
  bool first = true;
  for (const Value& item : iterate(iterable)) {
    Budget::current().work();
    if (!item.is_string()) fail(str("join() expects strings, found ", item.type_name()));
    if (!std::exchange(first, false)) out += separator;
    out += item.string();
  }
  return Value::text(out.finish());
}

std::string_view without_prefix(std::string_view text, std::string_view prefix) {
  return text.starts_with(prefix) ? text.substr(prefix.size()) : text;
}
std::string_view without_suffix(std::string_view text, std::string_view suffix) {
  return text.ends_with(suffix) ? text.substr(0, text.size() - suffix.size()) : text;
}

const MethodTable& string_methods() {
  using A = Arguments;
  using V = const Value&;
  static const auto text = [](std::string_view view) { return Value::text(view); };
  static const MethodTable table{
      {"strip", [](V s, A& a) -> Value { return text(stripped(s.string(), a.next("chars"), true, true)); }},
      {"lstrip", [](V s, A& a) -> Value { return text(stripped(s.string(), a.next("chars"), true, false)); }},
      {"rstrip", [](V s, A& a) -> Value { return text(stripped(s.string(), a.next("chars"), false, true)); }},
      {"split", [](V s, A& a) -> Value { return split_text(s, a, false); }},
      {"rsplit", [](V s, A& a) -> Value { return split_text(s, a, true); }},
      {"splitlines", [](V s, A& a) -> Value { return lines_of(s.string(), a.flag("keepends", false)); }},
      {"startswith", [](V s, A& a) -> Value { return has_affix(s, a.required("prefix"), begins); }},
      {"endswith", [](V s, A& a) -> Value { return has_affix(s, a.required("suffix"), ends); }},
      {"replace",
       [](V s, A& a) -> Value {
         const std::string_view from = to_text(a.required("old")), to = to_text(a.required("new"));
         return replaced(s.string(), from, to, a.integer("count", -1));
       }},
      {"upper", [](V s, A&) -> Value { return upper_text(s.string()); }},
      {"lower", [](V s, A&) -> Value { return lower_text(s.string()); }},
      {"title", [](V s, A&) -> Value { return titled(s.string()); }},
      {"capitalize", [](V s, A&) -> Value { return capitalized(s.string()); }},
      {"join", [](V s, A& a) -> Value { return joined(s.string(), a.required("iterable")); }},
      {"find",
       [](V s, A& a) -> Value {
         return index_in_characters(s.string(), find_text(s.string(), to_text(a.required("sub"))));
       }},
      {"rfind",
       [](V s, A& a) -> Value {
         return index_in_characters(s.string(), find_last(s.string(), to_text(a.required("sub")), s.string().size()));
       }},
      {"index",
       [](V s, A& a) -> Value {
         const size_t found = find_text(s.string(), to_text(a.required("sub")));
         if (found == std::string_view::npos) fail("substring not found");
         return index_in_characters(s.string(), found);
       }},
      {"count", [](V s, A& a) -> Value { return occurrences(s.string(), to_text(a.required("sub"))); }},
      {"isdigit", [](V s, A&) -> Value { return all_of_class(s.string(), kNumber); }},
      {"isalpha", [](V s, A&) -> Value { return all_of_class(s.string(), kLetter); }},
      {"isalnum", [](V s, A&) -> Value { return all_of_class(s.string(), kLetter | kNumber); }},
      {"isspace", [](V s, A&) -> Value { return all_of_class(s.string(), kSpace); }},
      {"isupper", [](V s, A&) -> Value { return cased(s.string(), kLu, kLl); }},
      {"islower", [](V s, A&) -> Value { return cased(s.string(), kLl, kLu); }},
      {"removeprefix",
       [](V s, A& a) -> Value { return text(without_prefix(s.string(), to_text(a.required("prefix")))); }},
      {"removesuffix",
       [](V s, A& a) -> Value { return text(without_suffix(s.string(), to_text(a.required("suffix")))); }}};
  return table;
}

Value values_of(const Dict& dict) {
  Values items;
  items.reserve(dict.items.size());
  for (const auto& item : dict.items) items.push_back(item.second);
  return Value::list(items);
}

const MethodTable& dict_methods() {
  using A = Arguments;
  using V = const Value&;
  static const MethodTable table{{"get",
                                  [](V s, A& a) -> Value {
                                    const Value* found = s.dict()->find(a.required("key"));
                                    const Value* otherwise = a.next("default");
                                    if (found != nullptr) return *found;
                                    return otherwise == nullptr ? Value(None{}) : *otherwise;
                                  }},
                                 {"items", [](V s, A&) -> Value { return pairs_of(*s.dict()); }},
                                 {"keys", [](V s, A&) -> Value { return Value::list(iterate(s)); }},
                                 {"values", [](V s, A&) -> Value { return values_of(*s.dict()); }},
                                 {"copy", [](V s, A&) -> Value { return s; }}};  // nothing can change it
  return table;
}

const MethodTable& list_methods() {
  using A = Arguments;
  using V = const Value&;
  static const MethodTable table{
      {"index",
       [](V s, A& a) -> Value {
         const Value& wanted = a.required("value");
         const Items items = s.list()->items;
         for (size_t i = 0; i < items.size(); ++i)
           if (equal(items[i], wanted)) return static_cast<int64_t>(i);
         fail(str(repr(wanted), " is not in list"));
       }},
      {"count",
       [](V s, A& a) -> Value {
         const Value& wanted = a.required("value");
         const Items items = s.list()->items;
         return static_cast<int64_t>(
             std::count_if(items.begin(), items.end(), [&](const Value& item) { return equal(item, wanted); }));
       }},
      {"copy", [](V s, A&) -> Value { return Value::list(s.list()->items); }}};
  return table;
}

bool mutates(const Value& object, std::string_view name) {
  static constexpr std::array<std::string_view, 8> kList{"append", "extend", "insert", "pop",
                                                         "remove", "clear",  "sort",   "reverse"};
  static constexpr std::array<std::string_view, 5> kDict{"clear", "pop", "popitem", "setdefault", "update"};
  if (object.list() != nullptr) return std::find(kList.begin(), kList.end(), name) != kList.end();
  return object.dict() != nullptr && std::find(kDict.begin(), kDict.end(), name) != kDict.end();
}

}  // namespace

Value pairs_of(const Dict& dict) {
  Values items;
  items.reserve(dict.items.size());
  for (const auto& [key, value] : dict.items) items.push_back(Value::list(Values{key, value}, true));
  return Value::list(items);
}

Value bind_method(const Value& object, std::string_view name) {
  const MethodTable* table = object.is_string()         ? &string_methods()
                             : object.dict() != nullptr ? &dict_methods()
                             : object.list() != nullptr ? &list_methods()
                                                        : nullptr;
  if (table == nullptr) return Value::undefined("");
  if (mutates(object, name))
    fail(str("access to attribute '", name, "' of '", object.type_name(), "' object is unsafe"));
  if (object.is_string() && name == "format")
    return make_lasting(Callable{.name = "format", .function = format_braces, .bound = object});
  const auto found = table->find(name);
  if (found == table->end()) return Value::undefined("");
  const auto call = [](const Callable& self, Items positional, const Named& named) {
    Arguments arguments(self.name, positional, named);
    const Value result = (*static_cast<const Method*>(self.code))(self.bound, arguments);
    arguments.finish();
    return result;
  };
  return make_lasting(Callable{.name = found->first, .function = call, .bound = object, .code = &found->second});
}

}  // namespace arkit::text::jinja
