#include "grammar/json_writer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <vector>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::grammar {
namespace {

constexpr int kMostBlanks = 32, kMostTabs = 8, kMostDigits = 18, kMostFraction = 16, kMostBounded = 6;
constexpr int64_t kLargest = 999'999'999'999'999'999;  // of kMostDigits digits

constexpr ByteSpan kDigit{'0', '9'};

// Characters of one byte that stand for themselves.
constexpr ByteSpan kPlain[] = {{0x20, '"' - 1}, {'"' + 1, '\\' - 1}, {'\\' + 1, 0x7F}};

// What stands for a character that must be escaped.
std::string escaped(uint32_t code) {
  switch (code) {
    case '"':
      return "\\\"";
    case '\\':
      return "\\\\";
    case '\b':
      return "\\b";
    case '\f':
      return "\\f";
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    default: {
      constexpr std::string_view kHex = "0123456789abcdef";
      return std::string("\\u00") + kHex[code >> 4] + kHex[code & 15];
    }
  }
}

}  // namespace

void JsonWriter::blanks(Node from, Node to) {
  if (blanks_ < 0) {
    blanks_ = draft_.add_rule("blanks");
    const Node end = draft_.end(blanks_), line = draft_.node();
    draft_.skip(draft_.start(blanks_), line);
    draft_.literal(draft_.start(blanks_), "\n", line);
    draft_.skip(line, end);
    for (const auto& [blank, most] : {std::pair(" ", kMostBlanks), std::pair("\t", kMostTabs)}) {
      Node here = line;
      for (int i = 0; i < most; ++i) {
        const Node next = draft_.node();
        draft_.literal(here, blank, next);
        draft_.skip(next, end);
        here = next;
      }
    }
  }
  draft_.call(from, blanks_, to);
}

void JsonWriter::chars(Node from, const CodePoints& points, Node to) {
  static const CodePoints kEscaped({{0, 0x1F}, {'"', '"'}, {'\\', '\\'}});
  draft_.chars(from, points.without(kEscaped), to);
  for (const CodeRange& range : kEscaped.ranges())
    for (uint32_t code = range.first; code <= range.last; ++code)
      if (points.has(code)) draft_.literal(from, escaped(code), to);
}

// A character in every way JSON writes it. Surrogates come in pairs, and a pair is one character.
void JsonWriter::any_char(Node from, Node to) {
  if (escape_ < 0) {
    escape_ = draft_.add_rule("escape");
    const Node end = draft_.end(escape_), slash = draft_.node(), u = draft_.node(), more = draft_.node();
    draft_.literal(draft_.start(escape_), "\\", slash);
    for (const char c : std::string_view("\"\\/bfnrt")) draft_.literal(slash, std::string_view(&c, 1), end);
    draft_.literal(slash, "u", u);
    const auto hex = [&](Node a, std::string_view digits, Node b) {
      for (const char c : digits) draft_.literal(a, std::string_view(&c, 1), b);
    };
    constexpr std::string_view kAny = "0123456789abcdefABCDEF";
    const auto last = [&](Node a, int count, Node b) {
      for (int i = 1; i <= count; ++i) {
        const Node next = i == count ? b : draft_.node();
        hex(a, kAny, next);
        a = next;
      }
    };
    const Node d = draft_.node(), high = draft_.node(), low = draft_.node(), low_d = draft_.node();
    hex(u, "0123456789abcefABCEF", more);
    last(more, 3, end);
    hex(u, "dD", d);
    const Node plain_d = draft_.node(), pair = draft_.node(), pair_end = draft_.node();
    hex(d, "01234567", plain_d);
    last(plain_d, 2, end);
    hex(d, "89abAB", high);
    last(high, 2, pair);
    draft_.literal(pair, "\\u", low);
    hex(low, "dD", low_d);
    hex(low_d, "cdefCDEF", pair_end);
    last(pair_end, 2, end);
    wide_ = draft_.add_rule("character");
    draft_.chars(draft_.start(wide_), CodePoints({{0x80, kLastCodePoint}}), draft_.end(wide_));
  }
  for (const ByteSpan& span : kPlain) draft_.bytes(from, span, to);
  draft_.call(from, escape_, to);
  draft_.call(from, wide_, to);
}

void JsonWriter::string(Node from, int64_t least, std::optional<int64_t> most, Node to) {
  const auto body = [&](Node begin, Node end) {
    Node here = draft_.node();
    draft_.literal(begin, "\"", here);
    for (int64_t i = 0; i < least; ++i) {
      const Node next = draft_.node();
      any_char(here, next);
      here = next;
    }
    draft_.literal(here, "\"", end);
    if (!most) any_char(here, here);
    for (int64_t i = least; most && i < *most; ++i) {
      const Node next = draft_.node();
      any_char(here, next);
      draft_.literal(next, "\"", end);
      here = next;
    }
  };
  if (least > 0 || most) return body(from, to);
  if (string_ < 0) {
    string_ = draft_.add_rule("string");
    body(draft_.start(string_), draft_.end(string_));
  }
  draft_.call(from, string_, to);
}

void JsonWriter::pattern(Node from, const Term& term, Node to) {
  const Node begin = draft_.node(), end = draft_.node();
  draft_.literal(from, "\"", begin);
  write_term(draft_, term, begin, end, [&](Node a, const CodePoints& points, Node b) { chars(a, points, b); }, {});
  draft_.literal(end, "\"", to);
}

void JsonWriter::value(Node from, const json::Value& value, Node to) {
  draft_.literal(from, json::dump(value), to);
}

void JsonWriter::name(Node from, std::string_view name, Node to) {
  const Node colon = draft_.node(), blank = draft_.node();
  value(from, json::Value(name), colon);
  draft_.literal(colon, ":", blank);
  blanks(blank, to);
}

// Along the tree of the names, character by character, until one differs. No escapes but those that must be, because
// another spelling of a name is the same name.
void JsonWriter::other_name(Node from, std::span<const std::string> names, Node to) {
  const Node begin = draft_.node(), rest = draft_.node(), colon = draft_.node(), blank = draft_.node();
  draft_.literal(from, "\"", begin);
  chars(rest, CodePoints::all(), rest);
  draft_.literal(rest, "\"", colon);
  draft_.literal(colon, ":", blank);
  blanks(blank, to);
  struct Place {
    std::map<uint32_t, size_t> next;
    Node node = -1;
    bool named = false;
  };
  std::vector<Place> places{{.next = {}, .node = begin}};
  for (const std::string& name : names) {
    size_t here = 0;
    for (size_t at = 0; at < name.size();) {
      const uint32_t code = next_code_point(name, at);
      const auto found = places[here].next.find(code);
      if (found != places[here].next.end()) {
        here = found->second;
        continue;
      }
      places.push_back({.next = {}, .node = draft_.node()});
      places[here].next.emplace(code, places.size() - 1);
      chars(places[here].node, CodePoints::one(code), places.back().node);
      here = places.size() - 1;
    }
    places[here].named = true;
  }
  for (const Place& place : places) {
    std::vector<CodeRange> taken;
    for (const auto& [code, next] : place.next) taken.push_back({code, code});
    chars(place.node, CodePoints::all().without(CodePoints(std::move(taken))), rest);
    if (!place.named) draft_.literal(place.node, "\"", colon);
  }
}

// Numbers of equally many digits from low to high.
void JsonWriter::digits(Node from, std::string low, std::string high, Node to) {
  // At each place the digits so far are those of low, of high, of both, or between them.
  Node both = from, at_low = -1, at_high = -1, between = -1;
  const auto digit = [&](Node a, int first, int last, Node b) {
    if (a >= 0 && first <= last)
      draft_.bytes(a, {static_cast<uint8_t>('0' + first), static_cast<uint8_t>('0' + last)}, b);
  };
  for (size_t i = 0; i < low.size(); ++i) {
    const bool end = i + 1 == low.size();
    const int l = low[i] - '0', h = high[i] - '0';
    const auto next = [&] { return end ? to : draft_.node(); };
    const Node next_low = next(), next_high = next(), next_between = next();
    Node next_both = -1;
    if (both >= 0 && l == h) {
      next_both = next();
      digit(both, l, l, next_both);
    } else if (both >= 0) {
      digit(both, l, l, next_low);
      digit(both, h, h, next_high);
      digit(both, l + 1, h - 1, next_between);
    }
    digit(at_low, l, l, next_low);
    digit(at_low, l + 1, 9, next_between);
    digit(at_high, h, h, next_high);
    digit(at_high, 0, h - 1, next_between);
    digit(between, 0, 9, next_between);
    both = next_both;
    at_low = next_low;
    at_high = next_high;
    between = next_between;
  }
}

// Numbers without a sign.
void JsonWriter::magnitude(Node from, int64_t least, std::optional<int64_t> most, Node to) {
  const int64_t last = std::min(most.value_or(kLargest), kLargest);
  for (int64_t low = least; low <= last;) {
    const std::string text = std::to_string(low);
    const int64_t largest = std::stoll(std::string(text.size(), '9'));
    digits(from, text, std::to_string(std::min(largest, last)), to);
    low = largest + 1;
  }
}

void JsonWriter::integer(Node from, const NumberRange& range, Node to) {
  if (range.least || range.most) return integers(from, range, to);
  if (integer_ < 0) {
    integer_ = draft_.add_rule("integer");
    integers(draft_.start(integer_), {}, draft_.end(integer_));
  }
  draft_.call(from, integer_, to);
}

void JsonWriter::integers(Node from, const NumberRange& range, Node to) {
  const auto limit = [](double value) {
    return std::clamp(value, -static_cast<double>(kLargest), static_cast<double>(kLargest));
  };
  std::optional<int64_t> least, most;
  if (range.least) {
    const double up = std::ceil(*range.least);
    least = static_cast<int64_t>(limit(up)) + (range.above && up == *range.least ? 1 : 0);
  }
  if (range.most) {
    const double down = std::floor(*range.most);
    most = static_cast<int64_t>(limit(down)) - (range.below && down == *range.most ? 1 : 0);
  }
  if (!most || *most >= 0) magnitude(from, std::max<int64_t>(least.value_or(0), 0), most, to);
  if (!least || *least < 0) {
    const Node minus = draft_.node();
    draft_.literal(from, "-", minus);
    const int64_t nearest = most && *most < 0 ? -*most : 1;
    magnitude(minus, nearest, least ? std::optional(-*least) : std::nullopt, to);
  }
}

// Nothing, or a point and digits.
void JsonWriter::fraction(Node from, Node to, int most, bool not_zero) {
  if (!not_zero) draft_.skip(from, to);
  Node zeros = draft_.node(), others = -1;
  draft_.literal(from, ".", zeros);
  for (int i = 0; i < most; ++i) {
    const Node zero = draft_.node(), other = draft_.node();
    draft_.literal(zeros, "0", zero);
    draft_.bytes(zeros, {'1', '9'}, other);
    if (others >= 0) draft_.bytes(others, kDigit, other);
    if (!not_zero) draft_.skip(zero, to);
    draft_.skip(other, to);
    zeros = zero;
    others = other;
  }
}

// Without ends.
void JsonWriter::numbers(Node from, Node to) {
  const Node whole = draft_.node(), decimal = draft_.node(), exponent = draft_.node(), sign = draft_.node(),
             minus = draft_.node(), one = draft_.node();
  draft_.skip(from, minus);
  draft_.literal(from, "-", minus);
  magnitude(minus, 0, std::nullopt, whole);
  fraction(whole, decimal, kMostFraction, false);
  draft_.skip(decimal, to);
  for (const std::string_view e : {"e", "E"}) draft_.literal(decimal, e, exponent);
  for (const std::string_view s : {"", "+", "-"}) draft_.literal(exponent, s, sign);
  draft_.bytes(sign, kDigit, one);
  draft_.skip(one, to);
  draft_.bytes(one, kDigit, to);
}

void JsonWriter::number(Node from, const NumberRange& range, Node to) {
  if (!range.least && !range.most) {
    if (number_ < 0) {
      number_ = draft_.add_rule("number");
      numbers(draft_.start(number_), draft_.end(number_));
    }
    return draft_.call(from, number_, to);
  }
  const auto whole = [](double value) { return static_cast<int64_t>(value); };
  // Numbers with this sign whose size is from `least` to `most`, both whole.
  const auto side = [&](Node begin, int64_t least, std::optional<int64_t> most, bool not_least, bool not_most) {
    if (most && *most < least) return;
    const auto one = [&](int64_t number, bool with_fraction, bool without) {
      const Node end = draft_.node();
      magnitude(begin, number, number, end);
      if (with_fraction)
        fraction(end, to, kMostBounded, !without);
      else if (without)
        draft_.skip(end, to);
    };
    const bool single = most && *most == least;
    one(least, !single, !not_least && !(single && not_most));
    if (single) return;
    const Node between = draft_.node();
    magnitude(begin, least + 1, most ? std::optional(*most - 1) : std::nullopt, between);
    fraction(between, to, kMostBounded, false);
    if (most && !not_most) one(*most, false, true);
  };
  if (!range.most || *range.most >= 0)
    side(from, range.least ? std::max<int64_t>(whole(*range.least), 0) : 0,
         range.most ? std::optional(whole(*range.most)) : std::nullopt, range.above && range.least && *range.least >= 0,
         range.below);
  if (!range.least || *range.least < 0) {
    const Node minus = draft_.node();
    draft_.literal(from, "-", minus);
    const bool reaches_zero = !range.most || *range.most >= 0;
    side(minus, reaches_zero ? 0 : -whole(*range.most),
         range.least ? std::optional(-whole(*range.least)) : std::nullopt, reaches_zero ? true : range.below,
         range.above);
  }
}

}  // namespace arkit::grammar
