#include "text/unicode.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <memory>
#include <unordered_map>
#include <vector>

namespace arkit::text {
namespace {

struct ClassRun {  // code points from `first` up to the next run have `value`
  uint32_t first;
  uint16_t value;
};
struct Decomposition {  // canonical, one level; second 0 = a singleton; composes: the pair maps back under NFC
  uint32_t code, first, second;
  bool composes;
};
struct CaseMapping {
  uint32_t code, first, second;
};

#include "text/unicode_data.inc"

constexpr uint32_t kLastCode = 0x10FFFF;

// Hangul syllables decompose and compose by arithmetic (Unicode 3.12).
constexpr uint32_t kHangulBase = 0xAC00, kLBase = 0x1100, kVBase = 0x1161, kTBase = 0x11A7;
constexpr uint32_t kVCount = 21, kTCount = 28, kHangulCount = 19 * kVCount * kTCount;

struct ExpandedTable {
  ClassTable table{};
  std::vector<std::unique_ptr<std::array<uint16_t, 256>>> storage;

  template <size_t N>
  explicit ExpandedTable(const ClassRun (&runs)[N]) {
    size_t run = 0;
    for (uint32_t page = 0; page < std::size(table.pages); ++page) {
      auto values = std::make_unique<std::array<uint16_t, 256>>();
      for (uint32_t i = 0; i < 256; ++i) {
        while (run + 1 < N && runs[run + 1].first <= page * 256 + i) ++run;
        (*values)[i] = runs[run].value;
      }
      // Most pages are like the one before: planes without characters, Han, Hangul.
      if (storage.empty() || *storage.back() != *values) storage.push_back(std::move(values));
      table.pages[page] = storage.back()->data();
    }
  }
};

const ClassTable& combining_table() {
  static const ExpandedTable expanded(kCombiningRuns);
  return expanded.table;
}

const Decomposition* find_decomposition(uint32_t code) {
  const auto* found = std::lower_bound(std::begin(kDecompositions), std::end(kDecompositions), code,
                                       [](const Decomposition& d, uint32_t value) { return d.code < value; });
  return found != std::end(kDecompositions) && found->code == code ? found : nullptr;
}

void decompose(uint32_t code, std::vector<uint32_t>& out) {
  if (code >= kHangulBase && code < kHangulBase + kHangulCount) {
    const uint32_t index = code - kHangulBase;
    out.push_back(kLBase + index / (kVCount * kTCount));
    out.push_back(kVBase + index % (kVCount * kTCount) / kTCount);
    if (index % kTCount != 0) out.push_back(kTBase + index % kTCount);
    return;
  }
  const Decomposition* found = find_decomposition(code);
  if (found == nullptr) {
    out.push_back(code);
    return;
  }
  decompose(found->first, out);
  if (found->second != 0) decompose(found->second, out);
}

// Fully decomposed, marks in canonical order.
std::vector<uint32_t> decomposed(std::string_view text) {
  std::vector<uint32_t> out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = code_point_at(text, at);
    at += c.length;
    if (c.code < 0xC0)
      out.push_back(c.code);
    else
      decompose(c.code, out);
  }
  const ClassTable& combining = combining_table();
  for (size_t begin = 0; begin < out.size();) {
    if (combining[out[begin]] == 0) {
      ++begin;
      continue;
    }
    size_t end = begin;
    while (end < out.size() && combining[out[end]] != 0) ++end;
    std::stable_sort(out.begin() + static_cast<std::ptrdiff_t>(begin), out.begin() + static_cast<std::ptrdiff_t>(end),
                     [&](uint32_t a, uint32_t b) { return combining[a] < combining[b]; });
    begin = end;
  }
  return out;
}

// The primary composite of a pair, 0 if there is none.
uint32_t compose_pair(uint32_t first, uint32_t second) {
  if (first >= kLBase && first < kLBase + 19 && second >= kVBase && second < kVBase + kVCount)
    return kHangulBase + ((first - kLBase) * kVCount + (second - kVBase)) * kTCount;
  if (first >= kHangulBase && first < kHangulBase + kHangulCount && (first - kHangulBase) % kTCount == 0 &&
      second > kTBase && second < kTBase + kTCount)
    return first + (second - kTBase);
  static const auto* const pairs = [] {
    auto* map = new std::unordered_map<uint64_t, uint32_t>;
    for (const Decomposition& d : kDecompositions)
      if (d.composes) map->emplace(uint64_t{d.first} << 32 | d.second, d.code);
    return map;
  }();
  const auto found = pairs->find(uint64_t{first} << 32 | second);
  return found == pairs->end() ? 0 : found->second;
}

void compose(std::vector<uint32_t>& codes) {
  const ClassTable& combining = combining_table();
  size_t out = 0;
  size_t starter = codes.size();  // index of the last starter in the output; codes.size() = none yet
  int last_class = -1;            // combining class of the last character kept after the starter, -1 = none
  for (size_t i = 0; i < codes.size(); ++i) {
    const uint32_t code = codes[i];
    const int cls = combining[code];
    if (starter != codes.size() && (last_class < cls || last_class == -1)) {
      const uint32_t composite = compose_pair(codes[starter], code);
      if (composite != 0) {
        codes[starter] = composite;
        continue;
      }
    }
    if (cls == 0) {
      starter = out;
      last_class = -1;
    } else {
      last_class = cls;
    }
    codes[out++] = code;
  }
  codes.resize(out);
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

std::string encoded(const std::vector<uint32_t>& codes) {
  std::string out;
  out.reserve(codes.size());
  for (const uint32_t code : codes) append_utf8(out, code);
  return out;
}

}  // namespace

const ClassTable& class_table() {
  static const ExpandedTable expanded(kClassRuns);
  return expanded.table;
}

void append_utf8(std::string& out, uint32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0 | code >> 6);
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0 | code >> 12);
    out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | code >> 18);
    out += static_cast<char>(0x80 | (code >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  }
}

namespace {

// Length of the valid sequence at text[at], or 0 with `bad` = length of the maximal invalid subpart.
size_t sequence_length(std::string_view text, size_t at, size_t& bad) {
  const auto byte = [&](size_t i) -> uint32_t {
    return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0U;
  };
  const uint32_t lead = byte(0);
  if (lead < 0x80) return 1;
  bad = 1;
  uint32_t low = 0x80, high = 0xBF;  // range of the second byte: no overlong forms, surrogates or values past 10FFFF
  size_t length = 0;
  if (lead >= 0xC2 && lead <= 0xDF) {
    length = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    length = 3;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return 0;
  }
  if (byte(1) < low || byte(1) > high) return 0;
  for (size_t i = 2; i < length; ++i) {
    bad = i;
    if (byte(i) < 0x80 || byte(i) > 0xBF) return 0;
  }
  return length;
}

}  // namespace

size_t valid_utf8_prefix(std::string_view text) {
  size_t at = 0, bad = 0;
  while (at < text.size()) {
    const size_t length = sequence_length(text, at, bad);
    if (length == 0) break;
    at += length;
  }
  return at;
}

std::string repair_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (true) {
    const size_t good = valid_utf8_prefix(text);
    out += text.substr(0, good);
    text.remove_prefix(good);
    if (text.empty()) return out;
    size_t bad = 1;
    (void)sequence_length(text, 0, bad);
    append_utf8(out, 0xFFFD);
    text.remove_prefix(bad);
  }
}

std::string to_nfd(std::string_view text) {
  return is_ascii(text) ? std::string(text) : encoded(decomposed(text));
}

std::string to_nfc(std::string_view text) {
  if (is_ascii(text)) return std::string(text);
  std::vector<uint32_t> codes = decomposed(text);
  compose(codes);
  return encoded(codes);
}

std::string to_lower(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = code_point_at(text, at);
    at += c.length;
    const auto* found = std::lower_bound(std::begin(kLowercase), std::end(kLowercase), c.code,
                                         [](const CaseMapping& m, uint32_t value) { return m.code < value; });
    if (found == std::end(kLowercase) || found->code != c.code) {
      append_utf8(out, c.code);
      continue;
    }
    append_utf8(out, found->first);
    if (found->second != 0) append_utf8(out, found->second);
  }
  return out;
}

uint32_t to_upper(uint32_t code) {
  static const auto* const capitals = [] {
    auto* map = new std::unordered_map<uint32_t, uint32_t>;
    for (const CaseMapping& m : kLowercase)
      if (m.second == 0) map->emplace(m.first, m.code);  // the first counts: K before the Kelvin sign
    map->erase(0xDF);                                    // sharp s becomes SS, not its rare capital
    return map;
  }();
  const auto found = capitals->find(code);
  return found == capitals->end() ? code : found->second;
}

static_assert(std::size(ClassTable{}.pages) * 256 == kLastCode + 1);

}  // namespace arkit::text
