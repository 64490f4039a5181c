#include "grammar/json_schema.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>
#include <vector>

#include <arkit/error.h>
#include <arkit/str.h>

#include "grammar/json_writer.h"
#include "grammar/pattern.h"
#include "grammar/schema_shape.h"
#include "grammar/schema_words.h"

namespace arkit::grammar {
namespace {

constexpr double kLargestWholeEnd = 1e15;

// A rule for each set of schemas that are asked of one value. Rules are written one after the other, however deep
// schemas lie in one another.
class Writer {
 public:
  Writer(const json::Value& root, const std::string& what) : reader_(root, what), draft_(what), json_(draft_) {}

  Draft write(const json::Value& root, RuleId& start) {
    start = draft_.add_rule("output");
    const Node begin = draft_.node();
    json_.blanks(draft_.start(start), begin);
    draft_.call(begin, rule_of({{&root, "#"}}), draft_.end(start));
    while (!todo_.empty()) {
      const auto [rule, places] = std::move(todo_.back());
      todo_.pop_back();
      draft_.write(rule);
      write_rule(rule, places);
    }
    return std::move(draft_);
  }

 private:
  RuleId rule_of(const Places& places) {
    std::vector<const json::Value*> key;
    for (const Place& place : places) key.push_back(place.schema);
    std::sort(key.begin(), key.end());
    const auto found = rules_.find(key);
    if (found != rules_.end()) return found->second;
    std::string name;
    for (const Place& place : places) name += str(name.empty() ? "" : " with ", place.pointer);
    const RuleId rule = draft_.add_rule(places.empty() ? "any value" : name);
    rules_.emplace(std::move(key), rule);
    todo_.emplace_back(rule, places);
    return rule;
  }

  void write_rule(RuleId rule, const Places& places) {
    const Node from = draft_.start(rule), to = draft_.end(rule);
    if (places.size() == 1 && passed_on(places[0], from, to)) return;
    for (const Shape& shape : reader_.shapes(places)) write_shape(shape, from, to);
  }

  // A schema that only refers, or only lists alternatives, is these: recursive ones are not taken apart.
  bool passed_on(const Place& place, Node from, Node to) {
    if (!place.schema->is_object()) return false;
    const json::Object& schema = place.schema->get_object();
    const bool refers = schema.contains("$ref"), chooses = schema.contains("anyOf");
    if (refers == chooses || says_more(schema, refers ? "$ref" : "anyOf")) return false;
    check_words(reader_, schema, place.pointer);
    if (refers) {
      draft_.call(from, rule_of({reader_.target(place)}), to);
      return true;
    }
    const std::string at = below(place.pointer, "anyOf");
    const json::Value& all = schema.at("anyOf");
    if (!all.is_array() || all.get_array().empty()) reader_.complain(at, "expected a list of schemas");
    for (size_t i = 0; i < all.get_array().size(); ++i)
      draft_.call(from, rule_of({{&all.get_array()[i], below(at, std::to_string(i))}}), to);
    return true;
  }

  void write_shape(const Shape& shape, Node from, Node to) {
    if (shape.values) {
      for (const json::Value* value : *shape.values) json_.value(from, *value, to);
      return;
    }
    if ((shape.kinds & kNull) != 0) draft_.literal(from, "null", to);
    if ((shape.kinds & kBool) != 0)
      for (const std::string_view word : {"true", "false"}) draft_.literal(from, word, to);
    if ((shape.kinds & (kInteger | kFraction)) != 0) write_number(shape, from, to);
    if ((shape.kinds & kString) != 0) write_string(shape, from, to);
    if ((shape.kinds & kArray) != 0) write_array(shape, from, to);
    if ((shape.kinds & kObject) != 0) write_object(shape, from, to);
  }

  void write_number(const Shape& shape, Node from, Node to) {
    const bool whole = (shape.kinds & kFraction) == 0;
    const double largest = whole ? kLargestWholeEnd : kLargestEnd;
    for (const auto& end : {shape.range.least, shape.range.most}) {
      if (!end || (std::abs(*end) <= largest && (whole || std::floor(*end) == *end))) continue;
      reader_.refuse(shape.range_at, str("a range that ends at ", *end, " is not supported for ",
                                         whole ? "integers; at most " : "numbers; whole numbers up to ", largest,
                                         whole ? " is" : " are"));
    }
    const Node sign = draft_.node();  // nothing comes back to it
    draft_.skip(from, sign);
    if (whole)
      json_.integer(sign, shape.range, to);
    else
      json_.number(sign, shape.range, to);
  }

  void write_string(const Shape& shape, Node from, Node to) {
    if (!shape.pattern) return json_.string(from, shape.min_length, shape.max_length, to);
    if (shape.min_length > 0 || shape.max_length)
      reader_.refuse(shape.pattern_at,
                     "beside minLength or maxLength it is not supported; say the length in the pattern");
    json_.pattern(from, read_pattern(*shape.pattern, str(reader_.what(), ": ", printable(shape.pattern_at))), to);
  }

  void write_array(const Shape& shape, Node from, Node to) {
    const Node open = draft_.node();
    Node here = draft_.node();
    draft_.literal(from, "[", open);
    json_.blanks(open, here);
    const auto close = [&](Node node) {
      const Node end = draft_.node();
      json_.blanks(node, end);
      draft_.literal(end, "]", to);
    };
    if (shape.min_items == 0) draft_.literal(here, "]", to);
    const auto places = [&](int64_t i) -> const Places& {
      return i < static_cast<int64_t>(shape.prefix.size()) ? shape.prefix[static_cast<size_t>(i)] : shape.rest;
    };
    // Beyond these all elements are alike.
    const int64_t told = std::max<int64_t>({static_cast<int64_t>(shape.prefix.size()), shape.min_items, 1});
    const int64_t last = shape.max_items.value_or(told);
    const auto element = [&](Node node, int64_t i, Node next) {
      if (i > 0) {
        const Node comma = draft_.node(), item = draft_.node();
        draft_.literal(node, ",", comma);
        json_.blanks(comma, item);
        node = item;
      }
      draft_.call(node, rule_of(places(i)), next);
    };
    for (int64_t i = 0; i < last; ++i) {
      const Node next = draft_.node();
      element(here, i, next);
      if (i + 1 >= shape.min_items) close(next);
      here = next;
    }
    if (!shape.max_items) element(here, told, here);
  }

  void write_object(const Shape& shape, Node from, Node to) {
    std::vector<std::pair<std::string, Places>> properties = shape.properties;
    std::vector<std::string> names;
    for (const auto& [name, places] : properties) names.push_back(name);
    for (const std::string& name : shape.required)
      if (std::find(names.begin(), names.end(), name) == names.end()) {
        properties.emplace_back(name, shape.additional);
        names.push_back(name);
      }
    const auto required = [&](const std::string& name) {
      return std::find(shape.required.begin(), shape.required.end(), name) != shape.required.end();
    };
    // Before the first member, and behind one.
    const Node open = draft_.node();
    Node none = draft_.node(), some = draft_.node();
    draft_.literal(from, "{", open);
    json_.blanks(open, none);
    const auto member = [&] {
      const Node comma = draft_.node(), begin = draft_.node();
      draft_.skip(none, begin);
      draft_.literal(some, ",", comma);
      json_.blanks(comma, begin);
      return begin;
    };
    for (const auto& [name, places] : properties) {
      const Node begin = member(), value = draft_.node(), next_none = draft_.node(), next_some = draft_.node();
      json_.name(begin, name, value);
      draft_.call(value, rule_of(places), next_some);
      if (!required(name)) {
        draft_.skip(none, next_none);
        draft_.skip(some, next_some);
      }
      none = next_none;
      some = next_some;
    }
    if (others_come(shape, properties.empty())) {
      const Node begin = member(), value = draft_.node();
      json_.other_name(begin, names, value);
      draft_.call(value, rule_of(shape.additional), some);
    }
    draft_.literal(none, "}", to);
    const Node end = draft_.node();
    json_.blanks(some, end);
    draft_.literal(end, "}", to);
  }

  // Properties that are not named are written where the schema speaks of them, or names none.
  [[nodiscard]] static bool others_come(const Shape& shape, bool none_named) {
    if (shape.additional.empty()) return none_named;
    return std::none_of(shape.additional.begin(), shape.additional.end(),
                        [](const Place& place) { return place.schema->is_bool() && !place.schema->get_bool(); });
  }

  // Whether it has keywords beside this one that do not only describe.
  [[nodiscard]] static bool says_more(const json::Object& schema, std::string_view key) {
    return std::any_of(schema.begin(), schema.end(),
                       [&](const auto& member) { return member.key() != key && !only_describes(member.key()); });
  }

  SchemaReader reader_;
  Draft draft_;
  JsonWriter json_;
  std::map<std::vector<const json::Value*>, RuleId> rules_;
  std::vector<std::pair<RuleId, Places>> todo_;
};

}  // namespace

Draft read_json_schema(const json::Value& schema, const std::string& what, RuleId& start) {
  return Writer(schema, what).write(schema, start);
}

}  // namespace arkit::grammar
