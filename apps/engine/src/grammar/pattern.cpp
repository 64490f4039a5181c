#include "grammar/pattern.h"

#include <utility>
#include <vector>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::grammar {
namespace {

constexpr std::string_view kTaken =
    "expected characters, . [a-z] \\d \\w \\s, ( ) (?: ) |, * + ? {m,n}, ^ at the beginning and $ at the end";

CodePoints digits() {
  return CodePoints({{'0', '9'}});
}
CodePoints word() {
  return CodePoints({{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}});
}
CodePoints space() {
  return CodePoints({{'\t', '\r'},
                     {' ', ' '},
                     {0xA0, 0xA0},
                     {0x1680, 0x1680},
                     {0x2000, 0x200A},
                     {0x2028, 0x2029},
                     {0x202F, 0x202F},
                     {0x205F, 0x205F},
                     {0x3000, 0x3000},
                     {0xFEFF, 0xFEFF}});
}
CodePoints line_ends() {
  return CodePoints({{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}});
}

Term anything() {
  return Term::repeat(Term::of(CodePoints::all()), 0, std::nullopt);
}

class Reader {
 public:
  Reader(std::string_view pattern, const std::string& what)
      : in_(pattern, str(what, " '", printable(pattern), "'")), what_(what) {}

  Term whole() {
    std::vector<Term> all;
    do all.push_back(anchored());
    while (in_.take("|"));
    if (!in_.done()) in_.fail("')' closes nothing");
    return Term::choice(std::move(all));
  }

 private:
  [[noreturn]] void refuse(const std::string& problem) const {
    throw_unsupported(str(what_, " '", printable(in_.text()), "': ", in_.where(), ": ", problem, "; ", kTaken));
  }

  Term anchored() {
    const bool begins = in_.take("^");
    Term inside = sequence(0);
    const bool ends = in_.take("$");
    if (ends && !in_.done() && in_.peek() != '|' && in_.peek() != ')') refuse("$ inside a pattern is not supported");
    std::vector<Term> parts;
    if (!begins) parts.push_back(anything());
    parts.push_back(std::move(inside));
    if (!ends) parts.push_back(anything());
    return Term::sequence(std::move(parts));
  }

  Term choice(int depth) {
    if (depth > kMostNesting) in_.fail(str("more than ", kMostNesting, " parentheses are open"));
    std::vector<Term> all;
    do all.push_back(sequence(depth));
    while (in_.take("|"));
    return Term::choice(std::move(all));
  }

  Term sequence(int depth) {
    std::vector<Term> all;
    while (!in_.done() && in_.peek() != '|' && in_.peek() != ')') {
      if (in_.peek() == '$') {
        if (depth == 0) break;
        refuse("$ inside parentheses is not supported");
      }
      all.push_back(repeated(one(depth)));
    }
    return Term::sequence(std::move(all));
  }

  Term one(int depth) {
    if (in_.take("(")) {
      if (in_.take("?") && !in_.take(":"))
        refuse("looking ahead, looking behind and names of groups are not supported");
      Term inside = choice(depth + 1);
      if (!in_.take(")")) in_.fail("expected ')'");
      return inside;
    }
    if (in_.take("[")) return Term::of(char_class());
    if (in_.take(".")) return Term::of(CodePoints::all().without(line_ends()));
    if (in_.sees("^")) refuse("^ inside a pattern is not supported");
    for (const std::string_view mark : {"*", "+", "?", "{"})
      if (in_.sees(mark)) in_.fail(str("'", mark, "' repeats nothing"));
    return Term::of(character(false));
  }

  Term repeated(Term part) {
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
    (void)in_.take("?");  // as few as possible: the texts are the same
    for (const std::string_view mark : {"*", "+", "?", "{"})
      if (in_.sees(mark)) in_.fail(str("'", mark, "' repeats a repetition; use parentheses"));
    return Term::repeat(std::move(part), least, most);
  }

  CodePoints char_class() {
    const bool other = in_.take("^");
    CodePoints all;
    while (!in_.take("]")) {
      if (in_.done()) in_.fail("a set of characters has no end; expected ']'");
      const CodePoints first = character(true);
      if (!in_.sees("-") || in_.sees("-]")) {
        all = all.united(first);
        continue;
      }
      (void)in_.take("-");
      if (in_.done()) in_.fail("a set of characters has no end; expected ']'");
      const CodePoints last = character(true);
      const auto single = [](const CodePoints& points) {
        return points.ranges().size() == 1 && points.ranges()[0].first == points.ranges()[0].last;
      };
      if (!single(first) || !single(last) || first.ranges()[0].first > last.ranges()[0].first)
        in_.fail("expected a range from one character to a later one");
      all = all.united(CodePoints({{first.ranges()[0].first, last.ranges()[0].first}}));
    }
    return other ? CodePoints::all().without(all) : all;
  }

  CodePoints character(bool in_class) {
    if (!in_.take("\\")) return CodePoints::one(in_.code_point());
    if (in_.done()) in_.fail("the pattern ends after a backslash");
    const uint32_t c = in_.code_point();
    switch (c) {
      case 'd':
        return digits();
      case 'D':
        return CodePoints::all().without(digits());
      case 'w':
        return word();
      case 'W':
        return CodePoints::all().without(word());
      case 's':
        return space();
      case 'S':
        return CodePoints::all().without(space());
      case 'n':
        return CodePoints::one('\n');
      case 'r':
        return CodePoints::one('\r');
      case 't':
        return CodePoints::one('\t');
      case 'f':
        return CodePoints::one('\f');
      case 'v':
        return CodePoints::one('\v');
      case 'x':
        return CodePoints::one(in_.hex(2));
      case 'u':
        return CodePoints::one(in_.hex(4));
      case 'b':
        if (in_class) return CodePoints::one('\b');
        break;
      default:
        break;
    }
    const bool name = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c > 0x7F;
    if (name) refuse(str("\\", static_cast<char>(c > 0x7F ? '?' : c), " is not supported"));
    return CodePoints::one(c);
  }

  Cursor in_;
  std::string what_;
};

}  // namespace

Term read_pattern(std::string_view pattern, const std::string& what) {
  return Reader(pattern, what).whole();
}

}  // namespace arkit::grammar
