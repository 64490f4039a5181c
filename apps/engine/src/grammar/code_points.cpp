#include "grammar/code_points.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "text/unicode.h"

namespace arkit::grammar {
namespace {

constexpr CodeRange kSurrogates{0xD800, 0xDFFF};
// The last code points of one, two, three and four bytes.
constexpr std::array<uint32_t, 4> kLastOfLength{0x7F, 0x7FF, 0xFFFF, kLastCodePoint};

std::vector<CodeRange> sorted(std::vector<CodeRange> ranges) {
  std::sort(ranges.begin(), ranges.end(), [](const CodeRange& a, const CodeRange& b) { return a.first < b.first; });
  std::vector<CodeRange> out;
  for (const CodeRange& range : ranges) {
    if (!out.empty() && range.first <= out.back().last + 1)
      out.back().last = std::max(out.back().last, range.last);
    else
      out.push_back(range);
  }
  return out;
}

std::string utf8(uint32_t code) {
  std::string out;
  text::append_utf8(out, code);
  return out;
}

// Both ends have equally many bytes. A range is cut until each byte but those of one place goes through all its values.
void add_sequences(uint32_t first, uint32_t last, std::vector<ByteSequence>& out) {
  const std::string low = utf8(first), high = utf8(last);
  for (size_t tail = 1; tail < low.size(); ++tail) {
    const uint32_t mask = (uint32_t{1} << (6 * tail)) - 1;
    if ((first & ~mask) == (last & ~mask)) break;
    if ((first & mask) != 0) {
      add_sequences(first, first | mask, out);
      add_sequences((first | mask) + 1, last, out);
      return;
    }
    if ((last & mask) != mask) {
      add_sequences(first, (last & ~mask) - 1, out);
      add_sequences(last & ~mask, last, out);
      return;
    }
  }
  ByteSequence sequence;
  for (size_t i = 0; i < low.size(); ++i)
    sequence.push_back({static_cast<uint8_t>(low[i]), static_cast<uint8_t>(high[i])});
  out.push_back(std::move(sequence));
}

}  // namespace

CodePoints::CodePoints(std::vector<CodeRange> ranges) {
  std::vector<CodeRange> valid;
  for (const CodeRange& range : ranges) {  // around the surrogates
    if (range.first < kSurrogates.first) valid.push_back({range.first, std::min(range.last, kSurrogates.first - 1)});
    if (range.last > kSurrogates.last) valid.push_back({std::max(range.first, kSurrogates.last + 1), range.last});
  }
  ranges_ = sorted(std::move(valid));
}

CodePoints CodePoints::all() {
  return CodePoints({{0, kLastCodePoint}});
}

bool CodePoints::has(uint32_t code) const {
  return std::any_of(ranges_.begin(), ranges_.end(),
                     [&](const CodeRange& range) { return range.first <= code && code <= range.last; });
}

CodePoints CodePoints::united(const CodePoints& other) const {
  std::vector<CodeRange> both = ranges_;
  both.insert(both.end(), other.ranges_.begin(), other.ranges_.end());
  return CodePoints(std::move(both));
}

CodePoints CodePoints::without(const CodePoints& other) const {
  std::vector<CodeRange> out;
  for (CodeRange left : ranges_) {
    bool gone = false;
    for (const CodeRange& cut : other.ranges_) {
      if (cut.last < left.first || cut.first > left.last) continue;
      if (cut.first > left.first) out.push_back({left.first, cut.first - 1});
      gone = cut.last >= left.last;
      if (gone) break;
      left.first = cut.last + 1;
    }
    if (!gone) out.push_back(left);
  }
  return CodePoints(std::move(out));
}

std::vector<ByteSequence> utf8_sequences(const CodePoints& points) {
  std::vector<ByteSequence> out;
  for (const CodeRange& range : points.ranges()) {
    uint32_t first = range.first;
    for (const uint32_t last : kLastOfLength) {
      if (first > range.last) break;
      if (first > last) continue;
      add_sequences(first, std::min(last, range.last), out);
      first = std::min(last, range.last) + 1;
    }
  }
  return out;
}

uint32_t next_code_point(std::string_view text, size_t& at) {
  const text::CodePoint point = text::code_point_at(text, at);
  at += point.length;
  return point.code;
}

int64_t count_code_points(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<uint8_t>(c) & 0xC0) != 0x80; });
}

}  // namespace arkit::grammar
