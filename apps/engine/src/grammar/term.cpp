#include "grammar/term.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::grammar {

Term Term::of(CodePoints chars) {
  Term term;
  term.kind = Kind::chars;
  term.chars = std::move(chars);
  return term;
}

Term Term::sequence(std::vector<Term> parts) {
  if (parts.size() == 1) return std::move(parts[0]);
  Term term;
  term.parts = std::move(parts);
  return term;
}

Term Term::choice(std::vector<Term> parts) {
  if (parts.size() == 1) return std::move(parts[0]);
  Term term;
  term.kind = Kind::choice;
  term.parts = std::move(parts);
  return term;
}

Term Term::repeat(Term part, int64_t least, std::optional<int64_t> most) {
  Term term;
  term.kind = Kind::repeat;
  term.parts.push_back(std::move(part));
  term.least = least;
  term.most = most;
  return term;
}

void write_term(Draft& draft, const Term& term, Node from, Node to, const CharWriter& chars,
                const std::map<std::string, RuleId>& rules) {
  const auto write = [&](const Term& part, Node begin, Node end) { write_term(draft, part, begin, end, chars, rules); };
  switch (term.kind) {
    case Term::Kind::chars:
      chars(from, term.chars, to);
      return;
    case Term::Kind::rule:
      draft.call(from, rules.at(term.name), to);
      return;
    case Term::Kind::choice:
      for (const Term& part : term.parts) write(part, from, to);
      return;
    case Term::Kind::sequence:
      if (term.parts.empty()) draft.skip(from, to);
      for (size_t i = 0; i < term.parts.size(); ++i) {
        const Node next = i + 1 < term.parts.size() ? draft.node() : to;
        write(term.parts[i], from, next);
        from = next;
      }
      return;
    case Term::Kind::repeat:
      break;
  }
  // Parts that may be empty are repeated without going round for nothing: a node before each keeps loops apart.
  const auto again = [&] {
    const Node next = draft.node();
    write(term.parts[0], from, next);
    from = next;
  };
  for (int64_t i = 0; i < term.least; ++i) again();
  if (!term.most) {
    const Node loop = draft.node();
    draft.skip(from, loop);
    write(term.parts[0], loop, loop);
    draft.skip(loop, to);
    return;
  }
  draft.skip(from, to);
  for (int64_t i = term.least; i < *term.most; ++i) {
    again();
    draft.skip(from, to);
  }
}

bool Cursor::take(std::string_view next) {
  if (!sees(next)) return false;
  at_ += next.size();
  return true;
}

uint32_t Cursor::code_point() {
  return next_code_point(text_, at_);
}

uint32_t Cursor::hex(size_t digits) {
  uint32_t code = 0;
  const std::string_view rest = text_.substr(at_, digits);
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), code, 16);
  if (error != std::errc() || end != rest.data() + digits)
    fail(str("expected ", digits, " hexadecimal digits after the backslash"));
  at_ += digits;
  if (code > kLastCodePoint || (code >= 0xD800 && code <= 0xDFFF))
    fail("expected the number of a character, at most 10FFFF and no surrogate");
  return code;
}

void Cursor::counts(int64_t& least, std::optional<int64_t>& most) {
  const auto number = [&] {
    int64_t value = 0;
    const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
    if (error != std::errc() || value < 0) fail("expected {m}, {m,} or {m,n} with numbers");
    at_ = static_cast<size_t>(end - text_.data());
    return value;
  };
  least = number();
  most = least;
  if (take(",")) most = peek() == '}' ? std::nullopt : std::optional(number());
  if (!take("}")) fail("expected {m}, {m,} or {m,n} with numbers");
  if (most && *most < least) fail(str("expected {m,n} with m at most n, not {", least, ",", *most, "}"));
}

std::string Cursor::where() const {
  const std::string_view before = text_.substr(0, std::min(at_, text_.size()));
  const auto line = std::count(before.begin(), before.end(), '\n') + 1;
  const size_t begin = before.rfind('\n') == before.npos ? 0 : before.rfind('\n') + 1;
  const int64_t column = count_code_points(before.substr(begin)) + 1;
  return text_.find('\n') == text_.npos ? str("character ", column) : str("line ", line, ", character ", column);
}

void Cursor::fail(const std::string& problem) const {
  throw_input(str(what_, ": ", where(), ": ", problem));
}

}  // namespace arkit::grammar
