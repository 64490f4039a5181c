#pragma once
// Sets of Unicode code points, and the bytes they are in UTF-8. Surrogates are in no set.

#include <cstdint>
#include <string_view>
#include <vector>

namespace arkit::grammar {

constexpr uint32_t kLastCodePoint = 0x10FFFF;

struct CodeRange {
  uint32_t first = 0, last = 0;  // both belong to it
  bool operator==(const CodeRange&) const = default;
};

class CodePoints {
 public:
  CodePoints() = default;
  explicit CodePoints(std::vector<CodeRange> ranges);
  [[nodiscard]] static CodePoints all();
  [[nodiscard]] static CodePoints one(uint32_t code) { return CodePoints({{code, code}}); }

  // Ascending, none touches the next.
  [[nodiscard]] const std::vector<CodeRange>& ranges() const { return ranges_; }
  [[nodiscard]] bool has(uint32_t code) const;
  [[nodiscard]] CodePoints united(const CodePoints& other) const;
  [[nodiscard]] CodePoints without(const CodePoints& other) const;

 private:
  std::vector<CodeRange> ranges_;
};

// One or more bytes, each from a range, that together are the code points of a range.
struct ByteSpan {
  uint8_t first = 0, last = 0;
};
using ByteSequence = std::vector<ByteSpan>;
[[nodiscard]] std::vector<ByteSequence> utf8_sequences(const CodePoints& points);

// The code point that begins at text[at], which moves behind it. `text` is valid UTF-8, at < text.size().
[[nodiscard]] uint32_t next_code_point(std::string_view text, size_t& at);
// Of valid UTF-8.
[[nodiscard]] int64_t count_code_points(std::string_view text);

}  // namespace arkit::grammar
