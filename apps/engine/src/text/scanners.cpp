// Hand-written matchers for the regular expressions of docs/spec/tokenizers.md 3. They see exactly the crate's
// character classes, which no regex library of Debian 12 does, and run several times faster
// (docs/adr/0006-tokenizer-patterns.md).

#include <array>
#include <initializer_list>

#include <arkit/sdk/pretokenizer_patterns.h>

#include "text/pattern.h"
#include "text/unicode.h"

namespace arkit::text {

namespace patterns = pretokenizer_patterns;

namespace {

constexpr uint16_t kUpperish = kLu | kLt | kLm | kLo | kMark;  // U of docs/spec/tokenizers.md 3
constexpr uint16_t kLowerish = kLl | kLm | kLo | kMark;        // W

// Reads one text; every rule takes a position and returns the end of its match, or 0 for "no match" (a match is never
// empty, so its end is never 0).
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text), classes_(class_table()) {}

  [[nodiscard]] bool at_end(size_t i) const { return i >= text_.size(); }
  [[nodiscard]] char byte(size_t i) const { return i < text_.size() ? text_[i] : '\0'; }
  [[nodiscard]] bool newline(size_t i) const { return !at_end(i) && (text_[i] == '\r' || text_[i] == '\n'); }
  [[nodiscard]] uint16_t flags(size_t i) const {
    return at_end(i) ? uint16_t{0} : classes_[code_point_at(text_, i).code];
  }
  [[nodiscard]] uint32_t code(size_t i) const { return code_point_at(text_, i).code; }
  [[nodiscard]] size_t next(size_t i) const { return i + code_point_at(text_, i).length; }
  [[nodiscard]] bool is(size_t i, uint16_t mask) const { return (flags(i) & mask) != 0; }
  // Neither space, letter nor number.
  [[nodiscard]] bool other(size_t i) const { return !at_end(i) && (flags(i) & (kSpace | kLetter | kNumber)) == 0; }

  // End of the maximal run of the class from i, at most `limit` characters.
  [[nodiscard]] size_t run(size_t i, uint16_t mask, int limit = -1) const {
    for (; !at_end(i) && limit != 0; --limit) {
      const CodePoint c = code_point_at(text_, i);
      if ((classes_[c.code] & mask) == 0) break;
      i += c.length;
    }
    return i;
  }
  [[nodiscard]] size_t run_other(size_t i) const {
    while (other(i)) i = next(i);
    return i;
  }
  [[nodiscard]] size_t newlines(size_t i, bool slash) const {
    while (newline(i) || (slash && byte(i) == '/')) ++i;
    return i;
  }

  [[nodiscard]] size_t contraction(size_t i, bool ignore_case) const {
    if (byte(i) != '\'') return 0;
    const auto letter = [&](size_t at) -> char {
      const char c = byte(at);
      return ignore_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    };
    const char first = letter(i + 1), second = letter(i + 2);
    if (first == 's' || first == 't') return i + 2;
    if (ignore_case && byte(i + 1) == '\xC5' && byte(i + 2) == '\xBF') return i + 3;  // U+017F folds to s
    if ((first == 'r' && second == 'e') || (first == 'v' && second == 'e')) return i + 3;
    if (first == 'm') return i + 2;
    if (first == 'l' && second == 'l') return i + 3;
    if (first == 'd') return i + 2;
    return 0;
  }
  // \s+(?!\S)|\s+
  [[nodiscard]] size_t spaces(size_t i) const {
    const size_t end = run(i, kSpace);
    if (end == i) return 0;
    if (at_end(end)) return end;
    const size_t last = previous_code_point(text_, end);
    return last > i ? last : end;
  }
  // \s*[\r\n]+
  [[nodiscard]] size_t line_breaks(size_t i) const {
    for (size_t end = run(i, kSpace); end > i; --end)
      if (newline(end - 1)) return end;
    return 0;
  }
  //  ?[^\s\p{L}\p{N}]+[\r\n/]*
  [[nodiscard]] size_t punctuation(size_t i, bool slash) const {
    const size_t begin = byte(i) == ' ' ? i + 1 : i;
    const size_t end = run_other(begin);
    return end == begin ? 0 : newlines(end, slash);
  }
  // U*W+ of docs/spec/tokenizers.md 3: greedy, gives back to the last character that is both.
  [[nodiscard]] size_t word_lower(size_t i) const {
    const size_t upper_end = run(i, kUpperish);
    const size_t end = run(upper_end, kLowerish);
    if (end > upper_end) return end;
    for (size_t x = upper_end; x > i;) {
      x = previous_code_point(text_, x);
      if (is(x, kLowerish)) return run(x, kLowerish);
    }
    return 0;
  }
  // U+W*
  [[nodiscard]] size_t word_upper(size_t i) const {
    const size_t upper_end = run(i, kUpperish);
    return upper_end == i ? 0 : run(upper_end, kLowerish);
  }

 private:
  std::string_view text_;
  const ClassTable& classes_;
};

size_t first_of(std::initializer_list<size_t> ends) {
  for (const size_t end : ends)
    if (end != 0) return end;
  return 0;
}

size_t match_gpt2(const Scanner& s, size_t i) {
  if (const size_t end = s.contraction(i, false)) return end;
  const size_t begin = s.byte(i) == ' ' ? i + 1 : i;
  if (const size_t end = s.run(begin, kLetter); end > begin) return end;
  if (const size_t end = s.run(begin, kNumber); end > begin) return end;
  if (const size_t end = s.run_other(begin); end > begin) return end;
  return s.spaces(i);
}

size_t tail(const Scanner& s, size_t i, int max_digits, bool slash) {
  if (s.is(i, kNumber)) return s.run(i, kNumber, max_digits);
  if (const size_t end = s.punctuation(i, slash)) return end;
  if (const size_t end = s.line_breaks(i)) return end;
  return s.spaces(i);
}

template <int kMaxDigits>
size_t match_short_numbers(const Scanner& s, size_t i) {
  if (const size_t end = s.contraction(i, true)) return end;
  if (s.is(i, kLetter)) return s.run(i, kLetter);
  if (!s.newline(i) && !s.is(i, kNumber)) {
    const size_t begin = s.next(i);
    if (s.is(begin, kLetter)) return s.run(begin, kLetter);
  }
  return tail(s, i, kMaxDigits, false);
}

template <int kMaxDigits, bool kSuffix>
size_t match_tekken(const Scanner& s, size_t i) {
  const bool prefix = !s.newline(i) && !s.is(i, kLetter | kNumber);
  const size_t after = prefix ? s.next(i) : i;
  size_t end = prefix ? s.word_lower(after) : 0;
  if (end == 0) end = s.word_lower(i);
  if (end == 0 && prefix) end = s.word_upper(after);
  if (end == 0) end = s.word_upper(i);
  if (end == 0) return tail(s, i, kMaxDigits, true);
  if (kSuffix)
    if (const size_t contracted = s.contraction(end, true)) return contracted;
  return end;
}

size_t match_digits3(const Scanner& s, size_t i) {
  return s.is(i, kNumber) ? s.run(i, kNumber, 3) : 0;
}

size_t match_cjk(const Scanner& s, size_t i) {
  const auto cjk = [&](size_t at) {
    if (s.at_end(at)) return false;
    const uint32_t code = s.code(at);
    return (code >= 0x4E00 && code <= 0x9FA5) || (code >= 0x3040 && code <= 0x30FF);
  };
  size_t end = i;
  while (cjk(end)) end = s.next(end);
  return end == i ? 0 : end;
}

size_t match_cjk_apart(const Scanner& s, size_t i) {
  const auto ascii_letter = [&](size_t at) { return (s.byte(at) | 0x20) >= 'a' && (s.byte(at) | 0x20) <= 'z'; };
  const char c = s.byte(i);
  if (c > ' ' && c < '\x7F' && !s.is(i, kLetter | kNumber) && ascii_letter(i + 1)) {
    size_t end = i + 1;
    while (ascii_letter(end)) ++end;
    return end;
  }
  if (!s.newline(i) && !s.is(i, kLetter | kPunct | kSymbol)) {
    const size_t begin = s.next(i);
    if (const size_t end = s.run(begin, kLetter | kMark); end > begin) return end;
  }
  if (const size_t end = s.run(i, kLetter | kMark); end > i) return end;
  const size_t begin = c == ' ' ? i + 1 : i;
  if (const size_t end = s.run(begin, kPunct | kSymbol); end > begin) return s.newlines(end, false);
  return first_of({s.line_breaks(i), s.spaces(i)});
}

using Matcher = size_t (*)(const Scanner&, size_t);

class ScannerPattern final : public Pattern {
 public:
  explicit ScannerPattern(Matcher matcher) : matcher_(matcher) {}
  void for_each_match(std::string_view text, const MatchSink& sink) const override {
    const Scanner scanner(text);
    for (size_t i = 0; i < text.size();) {
      const size_t end = matcher_(scanner, i);
      if (end == 0) {
        i = scanner.next(i);
        continue;
      }
      sink(i, end);
      i = end;
    }
  }

 private:
  Matcher matcher_;
};

struct KnownRegex {
  std::string_view regex;
  Matcher matcher;
};
constexpr std::array kKnown{KnownRegex{patterns::kGpt2, match_gpt2},
                            KnownRegex{patterns::kLlama3, match_short_numbers<3>},
                            KnownRegex{patterns::kQwen2, match_short_numbers<1>},
                            KnownRegex{patterns::kTekken, match_tekken<1, false>},
                            KnownRegex{patterns::kO200k, match_tekken<3, true>},
                            KnownRegex{patterns::kDigits3, match_digits3},
                            KnownRegex{patterns::kCjk, match_cjk},
                            KnownRegex{patterns::kDeepseek3, match_cjk_apart}};

}  // namespace

std::unique_ptr<Pattern> scanner_pattern(std::string_view regex) {
  for (const KnownRegex& known : kKnown)
    if (known.regex == regex) return std::make_unique<ScannerPattern>(known.matcher);
  return nullptr;
}

}  // namespace arkit::text
