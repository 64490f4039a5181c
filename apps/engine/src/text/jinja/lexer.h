#pragma once
// Cuts a template into text, tags and the tokens inside tags, with Jinja's whitespace rules: trim_blocks,
// lstrip_blocks, "-" and "+".

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace arkit::text::jinja {

enum class TokenKind { text, block_begin, block_end, output_begin, output_end, name, integer, real, string, op, end };

struct Token {
  TokenKind kind = TokenKind::end;
  std::string text;  // operator, name, unescaped string, or text between tags
  int64_t integer = 0;
  double real = 0.0;
  int line = 1;
};

// Throws ErrorCode::unsupported for what cannot be read, with the line.
[[nodiscard]] std::vector<Token> tokenize(std::string_view source);

[[noreturn]] void syntax_error(int line, const std::string& message);

}  // namespace arkit::text::jinja
