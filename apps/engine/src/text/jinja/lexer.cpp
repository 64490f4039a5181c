#include "text/jinja/lexer.h"

#include <algorithm>
#include <array>
#include <charconv>

#include <arkit/error.h>
#include <arkit/str.h>

#include "text/unicode.h"

namespace arkit::text::jinja {

void syntax_error(int line, const std::string& message) {
  throw_unsupported(str("chat template, line ", line, ": ", message));
}

namespace {

bool is_blank(char c) {
  return c == ' ' || c == '\t' || (c >= '\n' && c <= '\r');
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<unsigned char>(c) >= 0x80;
}

// Line ends become \n and one at the very end goes away (keep_trailing_newline is off).
std::string normalized(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out += source[i];
      continue;
    }
    out += '\n';
    if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

// Chains like a + b + c nest one level an operator; this bounds them. Real tags have a few dozen tokens.
constexpr size_t kMaxTagTokens = 4000;

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) {
      const size_t tag = next_tag(at_);
      text(at_, tag);
      if (tag == source_.size()) break;
      at_ = tag;
      switch (source_[at_ + 1]) {
        case '#':
          comment();
          break;
        case '{':
          tag_body(TokenKind::output_begin, TokenKind::output_end, "}}");
          break;
        default:
          if (!raw_block()) tag_body(TokenKind::block_begin, TokenKind::block_end, "%}");
      }
    }
    push(TokenKind::end, "");
    return std::move(tokens_);
  }

 private:
  [[nodiscard]] char peek(size_t ahead = 0) const { return at_ + ahead < source_.size() ? source_[at_ + ahead] : '\0'; }
  void push(TokenKind kind, std::string text) {
    Token token;
    token.kind = kind;
    token.text = std::move(text);
    token.line = line();
    tokens_.push_back(std::move(token));
  }
  // Lines are counted lazily, always forward.
  int line() {
    const size_t end = std::min(at_, source_.size());
    if (end > counted_) {
      line_ += static_cast<int>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(counted_),
                                           source_.begin() + static_cast<std::ptrdiff_t>(end), '\n'));
      counted_ = end;
    }
    return line_;
  }
  [[nodiscard]] size_t next_tag(size_t from) const {
    for (size_t i = source_.find('{', from); i != std::string::npos; i = source_.find('{', i + 1)) {
      const char c = i + 1 < source_.size() ? source_[i + 1] : '\0';
      if (c == '{' || c == '%' || c == '#') return i;
    }
    return source_.size();
  }

  // Text up to a tag, with what the tag's opening takes from its end.
  void text(size_t begin, size_t tag) {
    size_t end = tag;
    const char mark = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    if (tag < source_.size() && mark == '-') {
      while (end > begin && is_blank(source_[end - 1])) --end;
    } else if (tag < source_.size() && source_[tag + 1] != '{' && mark != '+') {  // lstrip_blocks
      size_t start = end;
      while (start > begin && (source_[start - 1] == ' ' || source_[start - 1] == '\t')) --start;
      if (start == begin ? line_starting_ : source_[start - 1] == '\n') end = start;
    }
    if (end > begin) push(TokenKind::text, source_.substr(begin, end - begin));
  }

  // After a tag: "-" takes all blanks, a block or comment one newline (trim_blocks) unless "+".
  void after_tag(char mark, bool trims) {
    const size_t before = at_;
    if (mark == '-') {
      while (at_ < source_.size() && is_blank(source_[at_])) ++at_;
    } else if (trims && mark != '+' && peek() == '\n') {
      ++at_;
    }
    line_starting_ = at_ > before && source_[at_ - 1] == '\n';
  }

  void comment() {
    const size_t end = source_.find("#}", at_ + 2);
    if (end == std::string::npos) syntax_error(line(), "a comment is not closed");
    const char mark = end > at_ + 2 ? source_[end - 1] : '\0';
    at_ = end + 2;
    after_tag(mark == '-' || mark == '+' ? mark : '\0', true);
  }

  // {% raw %} ... {% endraw %}
  bool raw_block() {
    size_t i = at_ + 2;
    const auto skip_blanks = [&] {
      while (i < source_.size() && is_blank(source_[i])) ++i;
    };
    const auto word = [&](std::string_view name) {
      if (i < source_.size() && (source_[i] == '-' || source_[i] == '+')) ++i;
      skip_blanks();
      if (source_.compare(i, name.size(), name) != 0) return false;
      i += name.size();
      skip_blanks();
      return true;
    };
    if (!word("raw")) return false;
    const char mark = i < source_.size() && (source_[i] == '-' || source_[i] == '+') ? source_[i++] : '\0';
    if (source_.compare(i, 2, "%}") != 0) return false;
    at_ = i + 2;
    after_tag(mark, false);
    const size_t begin = at_;
    for (size_t tag = source_.find("{%", begin); tag != std::string::npos; tag = source_.find("{%", tag + 2)) {
      i = tag + 2;
      if (!word("endraw")) continue;
      const char closing = i < source_.size() && (source_[i] == '-' || source_[i] == '+') ? source_[i++] : '\0';
      if (source_.compare(i, 2, "%}") != 0) continue;
      text(begin, tag);
      at_ = i + 2;
      after_tag(closing, true);
      return true;
    }
    syntax_error(line(), "a raw block is not closed");
  }

  void tag_body(TokenKind open, TokenKind close, std::string_view closing) {
    push(open, "");
    at_ += 2;
    if (peek() == '-' || peek() == '+') ++at_;
    const size_t first_token = tokens_.size();
    int depth = 0;  // of brackets: "}}" inside a dict does not end an output
    while (true) {
      if (tokens_.size() - first_token > kMaxTagTokens) syntax_error(line(), "a tag is too long");
      while (is_blank(peek())) ++at_;
      if (at_ >= source_.size()) syntax_error(line(), str("a tag is not closed with ", closing));
      const bool marked = peek() == '-' || peek() == '+';
      if (depth == 0 && source_.compare(at_ + (marked ? 1 : 0), 2, closing) == 0) {
        const char mark = marked ? peek() : '\0';
        push(close, "");
        at_ += marked ? 3 : 2;
        after_tag(mark, close == TokenKind::block_end);
        return;
      }
      expression_token(depth);
    }
  }

  void expression_token(int& depth) {
    const char c = peek();
    if (c == '"' || c == '\'') {
      string_token(c);
    } else if (is_digit(c)) {
      number_token();
    } else if (is_name_start(c)) {
      const size_t begin = at_;
      while (at_ < source_.size() && (is_name_start(source_[at_]) || is_digit(source_[at_]))) ++at_;
      push(TokenKind::name, source_.substr(begin, at_ - begin));
    } else {
      operator_token(depth);
    }
  }

  void operator_token(int& depth) {
    static constexpr std::array<std::string_view, 24> kOperators{"**", "//", "==", "!=", "<=", ">=", "+", "-",
                                                                 "*",  "/",  "%",  "~",  "<",  ">",  "=", ".",
                                                                 ":",  "|",  ",",  "(",  ")",  "[",  "]", "{"};
    for (const std::string_view op : kOperators)
      if (source_.compare(at_, op.size(), op) == 0) {
        if (op == "(" || op == "[" || op == "{") ++depth;
        if (op == ")" || op == "]") --depth;
        push(TokenKind::op, std::string(op));
        at_ += op.size();
        return;
      }
    if (peek() == '}') {
      --depth;
      push(TokenKind::op, "}");
      ++at_;
      return;
    }
    syntax_error(line(), str("unexpected character '", printable(source_.substr(at_, 1)), "'"));
  }

  void number_token() {
    std::string digits;
    bool real = false;
    while (is_digit(peek()) || (peek() == '_' && is_digit(peek(1)))) {
      if (peek() != '_') digits += peek();
      ++at_;
    }
    if (peek() == '.' && is_digit(peek(1))) {
      real = true;
      do digits += source_[at_++];
      while (is_digit(peek()));
    }
    const size_t sign = peek(1) == '+' || peek(1) == '-' ? 1 : 0;
    if ((peek() == 'e' || peek() == 'E') && is_digit(peek(1 + sign))) {
      real = true;
      digits += source_.substr(at_, 1 + sign);
      at_ += 1 + sign;
      while (is_digit(peek())) digits += source_[at_++];
    }
    if (is_name_start(peek()))
      syntax_error(line(), str("number '", printable(digits, 40), "' is followed by a letter"));
    push(real ? TokenKind::real : TokenKind::integer, digits);
    Token& token = tokens_.back();
    const char* end = digits.data() + digits.size();
    const auto result =
        real ? std::from_chars(digits.data(), end, token.real) : std::from_chars(digits.data(), end, token.integer);
    if (result.ec != std::errc()) syntax_error(line(), str("number '", printable(digits, 40), "' is out of range"));
  }

  void string_token(char quote) {
    const int first_line = line();
    std::string out;
    for (++at_; peek() != quote; ++at_) {
      if (at_ >= source_.size()) syntax_error(first_line, "a string is not closed");
      if (peek() != '\\') {
        out += peek();
        continue;
      }
      ++at_;
      escape(out);
    }
    ++at_;
    push(TokenKind::string, std::move(out));
  }

  // The escapes of Python's string literals; an unknown one keeps its backslash.
  void escape(std::string& out) {
    const char c = peek();
    static constexpr std::string_view kFrom = "abfnrtv\\'\"", kTo = "\a\b\f\n\r\t\v\\'\"";
    if (const size_t i = kFrom.find(c); i != std::string_view::npos && c != '\0') {
      out += kTo[i];
      return;
    }
    if (c == '\n') return;  // line continuation
    const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (digits == 0) {
      if (is_digit(c) || c == 'N') syntax_error(line(), str("the string escape '\\", c, "' is not supported"));
      out += '\\';
      out += c;
      return;
    }
    uint32_t code = 0;
    const char* begin = source_.data() + std::min(at_ + 1, source_.size());
    const char* end = source_.data() + std::min(at_ + 1 + digits, source_.size());
    const auto result = std::from_chars(begin, end, code, 16);
    if (result.ptr != begin + digits || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
      syntax_error(line(), str("the string escape '\\", c, "' is malformed"));
    append_utf8(out, code);
    at_ += digits;
  }

  std::string source_;
  size_t at_ = 0;
  bool line_starting_ = true;  // nothing but blanks since the last newline, as far as earlier tags are concerned
  size_t counted_ = 0;
  int line_ = 1;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) {
  return Lexer(normalized(repair_utf8(source))).run();
}

}  // namespace arkit::text::jinja
