#pragma once
// What a rule of a grammar file and a pattern of a schema are made of.

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "grammar/code_points.h"
#include "grammar/draft.h"

namespace arkit::grammar {

struct Term {
  enum class Kind { chars, sequence, choice, repeat, rule };
  Kind kind = Kind::sequence;  // of nothing: the empty text
  CodePoints chars;
  std::vector<Term> parts;  // of a sequence, a choice; the one that is repeated
  int64_t least = 0;        // repeat
  std::optional<int64_t> most;
  std::string name;  // rule

  [[nodiscard]] static Term of(CodePoints chars);
  [[nodiscard]] static Term sequence(std::vector<Term> parts);
  [[nodiscard]] static Term choice(std::vector<Term> parts);
  [[nodiscard]] static Term repeat(Term part, int64_t least, std::optional<int64_t> most);
};

// Deepest nesting of parentheses.
constexpr int kMostNesting = 64;

// How the characters of a term stand in the text: as they are, or as in a string of JSON.
using CharWriter = std::function<void(Node from, const CodePoints& points, Node to)>;

// Adds a term between two nodes. `rules` has all rules it names.
void write_term(Draft& draft, const Term& term, Node from, Node to, const CharWriter& chars,
                const std::map<std::string, RuleId>& rules);

// Reads text, character by character. `what` opens messages.
class Cursor {
 public:
  Cursor(std::string_view text, std::string what) : text_(text), what_(std::move(what)) {}

  [[nodiscard]] bool done() const { return at_ >= text_.size(); }
  [[nodiscard]] char peek() const { return done() ? '\0' : text_[at_]; }
  [[nodiscard]] bool sees(std::string_view next) const { return text_.substr(at_).starts_with(next); }
  bool take(std::string_view next);
  uint32_t code_point();  // not done()
  [[nodiscard]] size_t place() const { return at_; }
  void go_to(size_t place) { at_ = place; }
  [[nodiscard]] std::string_view text() const { return text_; }
  // Hexadecimal digits.
  [[nodiscard]] uint32_t hex(size_t digits);
  // "3", "3,", "3,5" before `}`, which is taken.
  void counts(int64_t& least, std::optional<int64_t>& most);
  // ErrorCode::input, with line and column where the text has lines.
  [[noreturn]] void fail(const std::string& problem) const;
  [[nodiscard]] std::string where() const;

 private:
  std::string_view text_;
  std::string what_;
  size_t at_ = 0;
};

}  // namespace arkit::grammar
