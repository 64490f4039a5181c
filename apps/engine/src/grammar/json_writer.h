#pragma once
// The texts of JSON in a draft. Where blanks may stand is the same everywhere: behind { [ , : and before } ], a line
// end and some blanks at most, because a model that may write blanks without end does.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <arkit/json.h>

#include "grammar/draft.h"
#include "grammar/term.h"

namespace arkit::grammar {

// Ends of a range of numbers; unset = none.
struct NumberRange {
  std::optional<double> least, most;
  bool above = false, below = false;  // the end itself does not belong to it
};

constexpr double kLargestEnd = 1e9;

class JsonWriter {
 public:
  explicit JsonWriter(Draft& draft) : draft_(draft) {}

  void blanks(Node from, Node to);
  void value(Node from, const json::Value& value, Node to);  // this one, written without blanks
  // Any text of so many characters.
  void string(Node from, int64_t least, std::optional<int64_t> most, Node to);
  void pattern(Node from, const Term& term, Node to);
  // A name that is none of these, and ": " behind it.
  void other_name(Node from, std::span<const std::string> names, Node to);
  void name(Node from, std::string_view name, Node to);
  // Whole numbers of up to 18 digits; nothing where none is between the ends.
  void integer(Node from, const NumberRange& range, Node to);
  // Finite numbers. Ends are whole and no larger than kLargestEnd; with one there is no exponent and no more digits than
  // a double tells apart.
  void number(Node from, const NumberRange& range, Node to);

  // Characters of a string, as few escapes as JSON needs.
  void chars(Node from, const CodePoints& points, Node to);

 private:
  void digits(Node from, std::string low, std::string high, Node to);
  void magnitude(Node from, int64_t least, std::optional<int64_t> most, Node to);
  void integers(Node from, const NumberRange& range, Node to);
  void numbers(Node from, Node to);
  void fraction(Node from, Node to, int most, bool not_zero);
  void any_char(Node from, Node to);

  Draft& draft_;
  // What is the same everywhere is written once, when it is first needed.
  RuleId blanks_ = -1, escape_ = -1, wide_ = -1, string_ = -1, integer_ = -1, number_ = -1;
};

}  // namespace arkit::grammar
