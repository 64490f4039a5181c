// Filters and tests.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <arkit/error.h>
#include <arkit/str.h>

#include "text/jinja/builtins.h"
#include "text/unicode.h"

namespace arkit::text::jinja {
namespace {

using Filter = Value (*)(const Value& input, Arguments& arguments);

// "a.b.0" of an item, as map(attribute=...) and sort(attribute=...) read it.
Value attribute_path(const Value& item, const Value& path) {
  Budget::current().work();
  if (path.is_integer()) return get_item(item, path);
  Value value = item;
  std::string_view rest = to_text(path);
  for (bool more = !rest.empty(); more;) {
    const size_t dot = rest.find('.');
    const std::string_view part = rest.substr(0, dot);
    more = dot != std::string_view::npos;
    if (more) rest.remove_prefix(dot + 1);
    const bool index = !part.empty() && part.size() < 10 && part.find_first_not_of("0123456789") == part.npos;
    value = get_item(value, index ? Value(int64_t{std::stoll(std::string(part))}) : Value::text(part));
  }
  return value;
}

// What items are ordered by: an attribute, with strings in lower case unless case_sensitive.
struct SortKey {
  const Value* attribute = nullptr;
  bool case_sensitive = false;
  [[nodiscard]] Value operator()(const Value& item) const {
    Budget::current().work();
    const Value key = attribute == nullptr || attribute->is_none() ? item : attribute_path(item, *attribute);
    if (!case_sensitive && key.is_string()) return lower_text(key.string());
    return key;
  }
};

Values sorted(Items items, const SortKey& key, bool reverse) {
  using Keyed = std::pair<Value, Value>;
  std::vector<Keyed, Allocator<Keyed>> keyed;
  keyed.reserve(items.size());
  for (const Value& item : items) keyed.emplace_back(key(item), item);
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
    return reverse ? compare(a.first, b.first) > 0 : compare(a.first, b.first) < 0;
  });
  Values out;
  out.reserve(keyed.size());
  for (const Keyed& item : keyed) out.push_back(item.second);
  return out;
}

Value extreme(const Value& input, Arguments& a, int sign) {
  SortKey key;
  key.case_sensitive = a.flag("case_sensitive", false);
  key.attribute = a.next("attribute");
  const Items items = iterate(input);
  if (items.empty()) return Value::undefined("No aggregated item, sequence was empty.");
  const Value* best = &items.front();
  for (const Value& item : items)
    if (compare(key(item), key(*best)) * sign > 0) best = &item;
  return *best;
}

Value sort_filter(const Value& input, Arguments& a) {
  const bool reverse = a.flag("reverse", false);
  SortKey key;
  key.case_sensitive = a.flag("case_sensitive", false);
  key.attribute = a.next("attribute");
  return Value::list(sorted(iterate(input), key, reverse));
}

Value dictsort_filter(const Value& input, Arguments& a) {
  if (input.dict() == nullptr) fail(str("dictsort needs a dict, got ", input.type_name()));
  SortKey key;
  key.case_sensitive = a.flag("case_sensitive", false);
  const Value position(a.text("by", "key") == "value" ? 1 : 0);
  key.attribute = &position;
  const bool reverse = a.flag("reverse", false);
  return Value::list(sorted(iterate(pairs_of(*input.dict())), key, reverse));
}

Value unique_filter(const Value& input, Arguments& a) {
  SortKey key;
  key.case_sensitive = a.flag("case_sensitive", false);
  key.attribute = a.next("attribute");
  Values out, seen;
  for (const Value& item : iterate(input)) {
    const Value own = key(item);
    if (std::any_of(seen.begin(), seen.end(), [&](const Value& v) { return equal(v, own); })) continue;
    seen.push_back(own);
    out.push_back(item);
  }
  return Value::list(out);
}

Value groupby_filter(const Value& input, Arguments& a) {
  SortKey key;
  key.attribute = &a.required("attribute");
  if (a.next("default") != nullptr) throw_unsupported("chat template: groupby(default=) is not supported");
  key.case_sensitive = a.flag("case_sensitive", false);
  Values groups, members;
  Value current;
  const auto flush = [&] {
    if (!members.empty())
      groups.push_back(
          Value::list(Values{attribute_path(members.front(), *key.attribute), Value::list(members)}, true));
    members = Values();  // not clear(): the list looks into it
  };
  for (const Value& item : sorted(iterate(input), key, false)) {
    const Value own = key(item);
    if (!members.empty() && !equal(own, current)) flush();
    current = own;
    members.push_back(item);
  }
  flush();
  return Value::list(groups);
}

Value join_filter(const Value& input, Arguments& a) {
  const std::string_view separator = a.text("d", "");
  const Value* attribute = a.next("attribute");
  Text out;
  bool first = true;
  for (const Value& item : iterate(input)) {
    Budget::current().work();
    if (!std::exchange(first, false)) out += separator;
    out += to_text(attribute == nullptr ? item : attribute_path(item, *attribute));
  }
  return Value::text(out.finish());
}

Value sum_filter(const Value& input, Arguments& a) {
  const Value* attribute = a.next("attribute");
  const Value* start = a.next("start");
  double total = start == nullptr ? 0.0 : start->number();
  bool integral = start == nullptr || start->is_integer();
  for (const Value& item : iterate(input)) {
    Budget::current().work();
    const Value value = attribute == nullptr || attribute->is_none() ? item : attribute_path(item, *attribute);
    integral = integral && value.is_integer();
    total += value.number();
  }
  if (integral && std::fabs(total) < 9e15) return static_cast<int64_t>(total);
  return total;
}

// What int() and float() read of a text; null-terminated for strtod. Longer ones are no numbers for Python either.
std::optional<std::string> digits_of(const Value& input) {
  constexpr size_t kMaxDigits = 4300;
  const std::string_view digits = stripped(input.string(), nullptr, true, true);
  if (digits.empty() || digits.size() > kMaxDigits) return std::nullopt;
  return std::string(digits);
}

Value int_filter(const Value& input, Arguments& a) {
  const int64_t otherwise = a.integer("default", 0);
  const int64_t base = a.integer("base", 10);
  if (input.is_integer()) return input.integer();
  double number = 0.0;
  if (input.is_string()) {
    const auto digits = digits_of(input);
    if (!digits) return otherwise;
    char* end = nullptr;
    errno = 0;
    const long long value = std::strtoll(digits->c_str(), &end, static_cast<int>(std::clamp<int64_t>(base, 2, 36)));
    if (*end == '\0' && errno == 0) return int64_t{value};
    number = std::strtod(digits->c_str(), &end);
    if (*end != '\0') return otherwise;
  } else if (input.is_number()) {
    number = input.number();
  } else {
    return otherwise;
  }
  return std::fabs(number) < 9.2e18 ? Value(static_cast<int64_t>(number)) : Value(otherwise);
}

Value float_filter(const Value& input, Arguments& a) {
  const Value* given = a.next("default");
  const double otherwise = given == nullptr ? 0.0 : given->number();
  if (input.is_number()) return input.number();
  const auto digits = input.is_string() ? digits_of(input) : std::nullopt;
  if (!digits) return otherwise;
  char* end = nullptr;
  const double value = std::strtod(digits->c_str(), &end);
  return *end != '\0' ? otherwise : value;
}

Value round_filter(const Value& input, Arguments& a) {
  const int64_t digits = std::clamp<int64_t>(a.integer("precision", 0), -300, 300);
  const std::string_view method = a.text("method", "common");
  if (method == "ceil" || method == "floor") {
    const double scale = std::pow(10.0, static_cast<double>(digits));
    const double scaled = input.number() * scale;
    return (method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale;
  }
  if (digits < 0) throw_unsupported("chat template: round with a negative precision is not supported");
  char buffer[700];
  std::snprintf(buffer, sizeof buffer, "%.*f", static_cast<int>(digits), input.number());
  return std::strtod(buffer, nullptr);
}

Value tojson_filter(const Value& input, Arguments& a) {
  JsonLayout layout;
  layout.ensure_ascii = a.flag("ensure_ascii", false);
  if (const Value* indent = a.next("indent"); indent != nullptr && !indent->is_none()) {
    layout.indent = static_cast<int>(std::clamp<int64_t>(indent->integer(), 0, 100));
    layout.item_separator = ",";
  }
  if (const Value* separators = a.next("separators"); separators != nullptr && !separators->is_none()) {
    const Items pair = iterate(*separators);
    if (pair.size() != 2) fail("tojson: separators must be a pair");
    layout.item_separator = to_text(pair[0]);
    layout.key_separator = to_text(pair[1]);
  }
  layout.sort_keys = a.flag("sort_keys", false);
  return Value::text(to_json(input, layout));
}

Value indent_filter(const Value& input, Arguments& a) {
  const Value* width = a.next("width");
  const bool first = a.flag("first", false), blank = a.flag("blank", false);
  const bool given = width != nullptr && width->is_string();
  const int64_t spaces = given || width == nullptr ? 4 : std::clamp<int64_t>(width->integer(), 0, 1000);
  Text blanks;
  blanks.append(static_cast<size_t>(spaces), ' ');
  const std::string_view indentation = given ? width->string() : blanks.finish();
  const std::string_view text = to_text(input);
  Text out;
  if (first) out += indentation;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    if (at > 0 && (blank || end > at)) out += indentation;
    out += text.substr(at, end - at);
    if (end < text.size()) out += '\n';
    at = end + 1;
    if (at == text.size() && blank) out += indentation;  // the empty line after the last line end
  }
  return Value::text(out.finish());
}

Value truncate_filter(const Value& input, Arguments& a) {
  const int64_t wanted = a.integer("length", 255);
  const bool kill_words = a.flag("killwords", false);
  const std::string_view end = a.text("end", "...");
  const int64_t leeway = a.integer("leeway", 5);
  const std::string_view text = to_text(input);
  const int64_t end_length = count_characters(end);
  if (wanted < end_length || leeway < 0) fail(str("truncate: length ", wanted, " is shorter than its end mark"));
  const int64_t size = count_characters(text);
  if (size <= wanted || size - wanted <= leeway) return Value::text(text);
  std::string_view kept = text.substr(0, character_offset(text, wanted - end_length));
  if (!kill_words) kept = kept.substr(0, kept.rfind(' '));
  return Value::text(joined_text(kept, end));
}

Value title_filter(const Value& input, Arguments&) {
  const std::string_view text = to_text(input);
  Text out;
  bool starts = true;
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = code_point_at(text, at);
    const std::string_view character = text.substr(at, c.length);
    out += (starts ? upper_text(character) : lower_text(character)).string();
    starts = character.find_first_of("-({[<") == 0 || (class_table()[c.code] & kSpace) != 0;
    at += c.length;
  }
  return Value::text(out.finish());
}

Value center_filter(const Value& input, Arguments& a) {
  const std::string_view text = to_text(input);
  const int64_t width = std::min<int64_t>(a.integer("width", 80), 10000);
  const int64_t missing = width - count_characters(text);
  if (missing <= 0) return Value::text(text);
  const int64_t left = missing / 2 + (missing & width & 1);  // as str.center does
  Text out;
  out.append(static_cast<size_t>(left), ' ');
  out += text;
  out.append(static_cast<size_t>(missing - left), ' ');
  return Value::text(out.finish());
}

Value wordcount_filter(const Value& input, Arguments&) {
  const std::string_view text = to_text(input);
  Budget::current().scan(text.size());
  int64_t words = 0;
  bool inside = false;
  for (size_t at = 0; at < text.size(); at += code_point_at(text, at).length) {
    const bool word = (class_table()[code_point_at(text, at).code] & kWord) != 0;
    words += word && !inside ? 1 : 0;
    inside = word;
  }
  return words;
}

Value escape_filter(const Value& input, Arguments&) {
  Text out;
  for (const char c : to_text(input)) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&#34;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return Value::text(out.finish());
}

Value urlencode_filter(const Value& input, Arguments&) {
  if (input.dict() != nullptr || input.list() != nullptr)
    throw_unsupported("chat template: urlencode of a collection is not supported");
  Text out;
  for (const char c : to_text(input)) {
    const bool safe = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                      std::string_view("_.-~/").find(c) != std::string_view::npos;
    char buffer[8];
    std::snprintf(buffer, sizeof buffer, safe ? "%c" : "%%%02X", static_cast<unsigned char>(c));
    out += buffer;
  }
  return Value::text(out.finish());
}

Value batch_filter(const Value& input, Arguments& a) {
  const int64_t count = a.required("linecount").integer();
  const Value* fill = a.next("fill_with");
  if (count <= 0) fail("batch: linecount must be positive");
  Values rows, row;
  for (const Value& item : iterate(input)) {
    row.push_back(item);
    if (static_cast<int64_t>(row.size()) == count) rows.push_back(Value::list(std::exchange(row, Values())));
  }
  if (!row.empty()) {
    while (fill != nullptr && static_cast<int64_t>(row.size()) < std::min<int64_t>(count, 100000)) row.push_back(*fill);
    rows.push_back(Value::list(row));
  }
  return Value::list(rows);
}

Value reverse_filter(const Value& input, Arguments&) {
  const Items items = iterate(input);
  if (!input.is_string()) return Value::list(Values(items.rbegin(), items.rend()));
  Text out;
  for (size_t i = items.size(); i > 0; --i) out += items[i - 1].string();
  return Value::text(out.finish());
}

Value pprint_filter(const Value& input, Arguments&) {
  const std::string_view text = repr(input);
  if (text.size() > 80 || input.dict() != nullptr)
    throw_unsupported("chat template: pprint of a dict or of more than 80 characters is not supported");
  return Value::text(text);
}

Value default_filter(const Value& input, Arguments& a) {
  const Value* otherwise = a.next("default_value");
  const bool falsy_too = a.flag("boolean", false);
  if (!input.is_undefined() && !(falsy_too && !input.truthy())) return input;
  return otherwise == nullptr ? Value::text("") : *otherwise;
}

Value edge(const Value& input, bool last) {
  if (input.is_string()) {  // without a list of its characters
    const std::string_view text = input.string();
    if (!text.empty())
      return Value::text(last ? text.substr(previous_code_point(text, text.size()))
                              : text.substr(0, code_point_at(text, 0).length));
  }
  const Items items = iterate(input);
  if (items.empty()) return Value::undefined("No item, sequence was empty.");
  return last ? items.back() : items.front();
}

Value items_filter(const Value& input, Arguments&) {
  if (input.is_undefined()) return Value::list({});
  if (input.dict() == nullptr) fail(str("items needs a mapping, got ", input.type_name()));
  return pairs_of(*input.dict());
}

Value abs_filter(const Value& input, Arguments&) {
  if (!input.is_integer()) return std::fabs(input.number());
  if (input.integer() == std::numeric_limits<int64_t>::min()) fail("abs: integer overflow");
  return std::abs(input.integer());
}

const std::unordered_map<std::string_view, Filter>& filters() {
  using A = Arguments;
  static const std::unordered_map<std::string_view, Filter> table{
      {"abs", abs_filter},
      {"batch", batch_filter},
      {"capitalize", [](const Value& v, A&) -> Value { return capitalized(to_text(v)); }},
      {"center", center_filter},
      {"count", [](const Value& v, A&) -> Value { return length(v); }},
      {"d", default_filter},
      {"default", default_filter},
      {"dictsort", dictsort_filter},
      {"e", escape_filter},
      {"escape", escape_filter},
      {"first", [](const Value& v, A&) -> Value { return edge(v, false); }},
      {"float", float_filter},
      {"groupby", groupby_filter},
      {"indent", indent_filter},
      {"int", int_filter},
      {"items", items_filter},
      {"join", join_filter},
      {"last", [](const Value& v, A&) -> Value { return edge(v, true); }},
      {"length", [](const Value& v, A&) -> Value { return length(v); }},
      {"list", [](const Value& v, A&) -> Value { return Value::list(iterate(v)); }},
      {"lower", [](const Value& v, A&) -> Value { return lower_text(to_text(v)); }},
      {"max", [](const Value& v, A& a) -> Value { return extreme(v, a, 1); }},
      {"min", [](const Value& v, A& a) -> Value { return extreme(v, a, -1); }},
      {"pprint", pprint_filter},
      {"replace",
       [](const Value& v, A& a) -> Value {
         const std::string_view from = to_text(a.required("old")), to = to_text(a.required("new"));
         return replaced(to_text(v), from, to, a.integer("count", -1));
       }},
      {"reverse", reverse_filter},
      {"round", round_filter},
      {"safe", [](const Value& v, A&) -> Value { return Value::text(to_text(v)); }},
      {"sort", sort_filter},
      {"string", [](const Value& v, A&) -> Value { return Value::text(to_text(v)); }},
      {"sum", sum_filter},
      {"title", title_filter},
      {"tojson", tojson_filter},
      {"trim",
       [](const Value& v, A& a) -> Value { return Value::text(stripped(to_text(v), a.next("chars"), true, true)); }},
      {"truncate", truncate_filter},
      {"unique", unique_filter},
      {"upper", [](const Value& v, A&) -> Value { return upper_text(to_text(v)); }},
      {"urlencode", urlencode_filter},
      {"wordcount", wordcount_filter}};
  return table;
}

// map(attribute=..., default=...) or map('filter', ...).
Value map_filter(const Value& input, Items positional, const Named& named) {
  Values out;
  if (!positional.empty()) {
    const std::string_view filter = to_text(positional[0]);
    for (const Value& item : iterate(input)) out.push_back(apply_filter(filter, item, positional.subspan(1), named));
    return Value::list(out);
  }
  Arguments arguments("map", positional, named);
  const Value& attribute = arguments.required("attribute");
  const Value* otherwise = arguments.next("default");
  arguments.finish();
  for (const Value& item : iterate(input)) {
    const Value value = attribute_path(item, attribute);
    out.push_back(value.is_undefined() && otherwise != nullptr ? *otherwise : value);
  }
  return Value::list(out);
}

// select, reject, selectattr, rejectattr.
Value choose(const Value& input, Items positional, bool by_attribute, bool wanted) {
  const size_t test_at = by_attribute ? 1 : 0;
  if (positional.size() < test_at) fail("selectattr needs an attribute");
  Values out;
  for (const Value& item : iterate(input)) {
    Budget::current().work();
    const Value value = by_attribute ? attribute_path(item, positional[0]) : item;
    bool passes = value.truthy();
    if (positional.size() > test_at)
      passes = apply_test(to_text(positional[test_at]), value, positional.subspan(test_at + 1));
    if (passes == wanted) out.push_back(item);
  }
  return Value::list(out);
}

}  // namespace

Value apply_filter(std::string_view name, const Value& input, Items positional, const Named& named) {
  const Budget::Level level;
  Budget::current().work();
  if (name == "map") return map_filter(input, positional, named);
  if (name == "select" || name == "reject") return choose(input, positional, false, name == "select");
  if (name == "selectattr" || name == "rejectattr") return choose(input, positional, true, name == "selectattr");
  if (name == "format") return format_percent(to_text(input), positional);
  const auto found = filters().find(name);
  if (found == filters().end())
    throw_unsupported(str("chat template: the filter '", printable(name, 40), "' is not supported"));
  Arguments arguments(name, positional, named);
  const Value result = found->second(input, arguments);
  arguments.finish();
  return result;
}

bool apply_test(std::string_view name, const Value& input, Items positional) {
  Budget::current().work();
  const auto other = [&]() -> const Value& {
    if (positional.size() != 1) fail(str("the test '", name, "' needs one argument"));
    return positional[0];
  };
  const auto is_text = [&](const Value& changed) { return input.is_string() && changed.string() == input.string(); };
  if (name == "defined") return !input.is_undefined();
  if (name == "undefined") return input.is_undefined();
  if (name == "none") return input.is_none();
  if (name == "boolean") return input.is_boolean();
  if (name == "true") return input.is_boolean() && input.truthy();
  if (name == "false") return input.is_boolean() && !input.truthy();
  if (name == "integer") return input.is_integer() && !input.is_boolean();
  if (name == "float") return input.is_real();
  if (name == "number") return input.is_number();
  if (name == "string") return input.is_string();
  if (name == "mapping") return input.dict() != nullptr;
  if (name == "sequence" || name == "iterable")
    return input.is_string() || input.list() != nullptr || input.dict() != nullptr || input.is_undefined();
  if (name == "callable") return input.callable() != nullptr || input.is_undefined();  // Undefined has __call__
  if (name == "odd") return input.integer() % 2 != 0;
  if (name == "even") return input.integer() % 2 == 0;
  if (name == "divisibleby") {
    if (other().integer() == 0) fail("integer modulo by zero");
    return other().integer() == -1 || input.integer() % other().integer() == 0;
  }
  if (name == "eq" || name == "equalto" || name == "==") return equal(input, other());
  if (name == "ne" || name == "!=") return !equal(input, other());
  if (name == "lt" || name == "lessthan" || name == "<") return compare(input, other()) < 0;
  if (name == "le" || name == "<=") return compare(input, other()) <= 0;
  if (name == "gt" || name == "greaterthan" || name == ">") return compare(input, other()) > 0;
  if (name == "ge" || name == ">=") return compare(input, other()) >= 0;
  if (name == "in") return contains(other(), input);
  if (name == "sameas") return input.type_name() == other().type_name() && equal(input, other());
  if (name == "lower") return is_text(lower_text(to_text(input)));
  if (name == "upper") return is_text(upper_text(to_text(input)));
  throw_unsupported(str("chat template: the test '", printable(name, 40), "' is not supported"));
}

namespace {

int64_t whole(double number) {
  if (!(std::fabs(number) < 9.2e18)) fail("a float of this size cannot be written as an integer");
  return static_cast<int64_t>(number);
}

}  // namespace

// '%s %d' % arguments, for %s %r %d %i %f %.Nf and %%.
Value format_percent(std::string_view format, Items arguments) {
  Text out;
  size_t used = 0;
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%') {
      out += format[i];
      continue;
    }
    size_t at = i + 1;
    int precision = 6;
    if (at + 1 < format.size() && format[at] == '.' && format[at + 1] >= '0' && format[at + 1] <= '9') {
      precision = format[at + 1] - '0';
      at += 2;
    }
    const char conversion = at < format.size() ? format[at] : '\0';
    i = at;
    if (conversion == '%') {
      out += '%';
      continue;
    }
    if (std::string_view("srdif").find(conversion) == std::string_view::npos || conversion == '\0')
      throw_unsupported(str("chat template: the conversion '%", std::string(1, conversion), "' is not supported"));
    if (used >= arguments.size()) fail("not enough arguments for format string");
    const Value& value = arguments[used++];
    char buffer[400];
    switch (conversion) {
      case 's':
        out += to_text(value);
        break;
      case 'r':
        out += repr(value);
        break;
      case 'f':
        std::snprintf(buffer, sizeof buffer, "%.*f", precision, value.number());
        out += buffer;
        break;
      default:
        out += repr(value.is_integer() ? value.integer() : whole(value.number()));
    }
  }
  if (used < arguments.size()) fail("not all arguments converted during string formatting");
  return Value::text(out.finish());
}

}  // namespace arkit::text::jinja
