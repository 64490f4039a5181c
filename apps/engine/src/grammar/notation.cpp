#include "grammar/notation.h"

#include <map>
#include <set>
#include <utility>
#include <vector>

#include <arkit/error.h>
#include <arkit/str.h>

#include "grammar/term.h"
#include "text/unicode.h"

namespace arkit::grammar {
namespace {

constexpr std::string_view kIs = "::=";
constexpr std::string_view kRoot = "root";
constexpr size_t kMostBytes = size_t{1} << 20;

bool begins_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
bool in_name(char c) {
  return begins_name(c) || (c >= '0' && c <= '9') || c == '-';
}

class Reader {
 public:
  Reader(std::string_view text, const std::string& what) : in_(text, what) {}

  std::vector<std::pair<std::string, Term>> rules() {
    std::vector<std::pair<std::string, Term>> all;
    std::set<std::string> names;
    for (blanks(); !in_.done(); blanks()) {
      if (!begins_name(in_.peek())) in_.fail(str("expected a rule, as in: ", kRoot, " ", kIs, " \"yes\" | \"no\""));
      std::string rule = name();
      blanks();
      if (!in_.take(kIs)) in_.fail(str("expected ", kIs, " after the name of the rule '", rule, "'"));
      if (!names.insert(rule).second) in_.fail(str("there is a rule '", rule, "' already; give this one another name"));
      Term term = choice(0);
      if (!in_.done() && !begins_name(in_.peek())) in_.fail(str("'", in_.peek(), "' is out of place here"));
      all.emplace_back(std::move(rule), std::move(term));
    }
    if (!names.contains(std::string(kRoot))) in_.fail(str("there is no rule '", kRoot, "', which the whole output is"));
    for (const auto& [named, place] : used_) {
      if (names.contains(named)) continue;
      in_.go_to(place);
      const std::vector<std::string> known(names.begin(), names.end());
      in_.fail(unknown_name("rule", named, known, "write it, or put quotes around what is meant as text"));
    }
    return all;
  }

 private:
  void blanks() {
    for (;;) {
      const char c = in_.peek();
      if (in_.done()) return;
      if (c == '#')
        while (!in_.done() && in_.peek() != '\n') (void)in_.code_point();
      else if (c == ' ' || c == '\t' || c == '\n' || c == '\r')
        (void)in_.take(std::string_view(&c, 1));
      else
        return;
    }
  }

  std::string name() {
    const size_t begin = in_.place();
    while (in_name(in_.peek())) (void)in_.code_point();
    return std::string(in_.text().substr(begin, in_.place() - begin));
  }

  // Whether a name here is that of the next rule.
  bool next_rule() {
    const size_t begin = in_.place();
    (void)name();
    blanks();
    const bool is = in_.sees(kIs);
    in_.go_to(begin);
    return is;
  }

  Term choice(int depth) {
    if (depth > kMostNesting) in_.fail(str("more than ", kMostNesting, " parentheses are open; use rules"));
    std::vector<Term> all;
    do all.push_back(sequence(depth));
    while (in_.take("|"));
    return Term::choice(std::move(all));
  }

  Term sequence(int depth) {
    std::vector<Term> all;
    for (blanks(); !in_.done(); blanks()) {
      const char c = in_.peek();
      if (c == '|' || c == ')' || (begins_name(c) && next_rule())) break;
      all.push_back(repeated(one(depth)));
    }
    return Term::sequence(std::move(all));
  }

  Term one(int depth) {
    if (in_.take("(")) {
      Term inside = choice(depth + 1);
      if (!in_.take(")")) in_.fail("expected ')'");
      return inside;
    }
    if (in_.take("\"")) return quoted();
    if (in_.take("[")) return Term::of(char_class());
    if (in_.take(".")) return Term::of(CodePoints::all().without(CodePoints::one('\n')));
    if (!begins_name(in_.peek()))
      in_.fail(str("'", in_.peek(), "' is out of place here; expected \"text\", [a-z], the name of a rule or ( )"));
    Term rule;
    rule.kind = Term::Kind::rule;
    const size_t place = in_.place();
    rule.name = name();
    used_.emplace(rule.name, place);
    return rule;
  }

  Term repeated(Term part) {
    for (int marks = 0;; ++marks) {
      blanks();
      int64_t least = 0;
      std::optional<int64_t> most;
      if (in_.take("?"))
        most = 1;
      else if (in_.take("+"))
        least = 1;
      else if (in_.take("{"))
        in_.counts(least, most);
      else if (!in_.take("*"))
        return part;
      if (marks > 0) in_.fail("expected one of * + ? {m,n} after a part, not two; use parentheses");
      part = Term::repeat(std::move(part), least, most);
    }
  }

  Term quoted() {
    std::vector<Term> all;
    while (!in_.take("\"")) {
      if (in_.done() || in_.peek() == '\n') in_.fail("a text has no end; expected '\"' on the same line");
      all.push_back(Term::of(CodePoints::one(character())));
    }
    return Term::sequence(std::move(all));
  }

  CodePoints char_class() {
    const bool other = in_.take("^");
    std::vector<CodeRange> ranges;
    while (!in_.take("]")) {
      if (in_.done() || in_.peek() == '\n') in_.fail("a set of characters has no end; expected ']' on the same line");
      const uint32_t first = character();
      uint32_t last = first;
      if (in_.sees("-") && !in_.sees("-]")) {
        (void)in_.take("-");
        last = character();
        if (last < first) in_.fail("a range of characters ends before it begins");
      }
      ranges.push_back({first, last});
    }
    if (ranges.empty()) in_.fail("a set of characters is empty");
    const CodePoints named(std::move(ranges));
    return other ? CodePoints::all().without(named) : named;
  }

  uint32_t character() {
    if (!in_.take("\\")) return in_.code_point();
    if (in_.done()) in_.fail("the file ends after a backslash");
    switch (const char c = in_.peek(); (void)in_.code_point(), c) {
      case 'n':
        return '\n';
      case 'r':
        return '\r';
      case 't':
        return '\t';
      case 'x':
        return in_.hex(2);
      case 'u':
        return in_.hex(4);
      case 'U':
        return in_.hex(8);
      case '\\':
      case '"':
      case '[':
      case ']':
      case '-':
      case '^':
        return static_cast<uint32_t>(c);
      default:
        in_.fail(str("\\", c, R"( is not known; expected \n \r \t \xHH \uHHHH \UHHHHHHHH \\ \" \[ \] \- \^)"));
    }
  }

  Cursor in_;
  std::map<std::string, size_t> used_;
};

}  // namespace

Draft read_notation(std::string_view text, const std::string& what, RuleId& start) {
  if (text.size() > kMostBytes)
    throw_input(str(what, ": has ", text.size(), " bytes; a grammar has at most ", kMostBytes));
  if (text::valid_utf8_prefix(text) != text.size()) throw_input(str(what, ": is not UTF-8"));
  const auto rules = Reader(text, what).rules();
  Draft draft(what);
  std::map<std::string, RuleId> ids;
  for (const auto& [name, term] : rules) ids.emplace(name, draft.add_rule(name));
  const auto chars = [&](Node from, const CodePoints& points, Node to) { draft.chars(from, points, to); };
  for (const auto& [name, term] : rules) {
    const RuleId rule = ids.at(name);
    draft.write(rule);
    write_term(draft, term, draft.start(rule), draft.end(rule), chars, ids);
  }
  start = ids.at(std::string(kRoot));
  return draft;
}

}  // namespace arkit::grammar
