#include "text/pattern.h"

#include <algorithm>
#include <cstdint>
#include <ctime>
#include <utility>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <arkit/error.h>
#include <arkit/str.h>

#include "text/effort.h"
#include "text/unicode.h"

namespace arkit::text {

Pattern::~Pattern() = default;

namespace {

constexpr size_t kMaxRegexLength = 1 << 16;
// Backtracking steps from one place of the text; the regexes of real tokenizers need a few dozen. PCRE2 counts them
// only when it interprets: its machine code would go on for hours at a+a+a+b.
constexpr uint32_t kMatchLimit = 200'000;
constexpr uint32_t kHeapLimitKiB = 64 * 1024;
// A match is first looked for in this much of the text. Only where the engine wants to see more, the part grows, and
// that is charged: a(?=.*b) reads to the end of the text at every character.
constexpr size_t kWindow = 2048;
constexpr size_t kStarts = 64;  // places tried in one call of the engine

class LiteralPattern final : public Pattern {
 public:
  explicit LiteralPattern(std::string literal) : literal_(std::move(literal)) {}
  void for_each_match(std::string_view text, const MatchSink& sink) const override {
    for (size_t at = text.find(literal_); at != std::string_view::npos; at = text.find(literal_, at + literal_.size()))
      sink(at, at + literal_.size());
  }

 private:
  std::string literal_;
};

// Oniguruma's \s as a class body: PCRE2's own has U+180E too.
constexpr std::string_view kSpaceBody =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";

[[noreturn]] void refuse(std::string_view what, const std::string& regex, std::string_view why) {
  throw_unsupported(str(what, ": regular expression '", printable(regex, 120), "' uses ", why));
}

// Oniguruma's Ruby syntax (what the tokenizers crate compiles) to PCRE2: spaces spelled out, constructs that would
// silently mean something else refused.
std::string translated(const std::string& regex, std::string_view what) {
  std::string out;
  bool in_class = false;
  for (size_t i = 0; i < regex.size(); ++i) {
    const char c = regex[i];
    if (c == '\\' && i + 1 < regex.size()) {
      const char next = regex[++i];
      if (next == 's' && in_class) {
        out += kSpaceBody;
      } else if (next == 's' || (next == 'S' && !in_class)) {
        out += next == 's' ? "[" : "[^";
        out += kSpaceBody;
        out += ']';
      } else if (next == 'S' || next == 'h' || next == 'H' || next == 'X' || next == 'R') {
        refuse(what, regex, str("\\", next, ", which this engine reads differently"));
      } else {
        out += c;
        out += next;
      }
      continue;
    }
    if (in_class && c == '&' && regex.compare(i, 2, "&&") == 0) refuse(what, regex, "a class intersection (&&)");
    if (in_class && c == '[' && regex.compare(i, 2, "[:") != 0) refuse(what, regex, "a class inside a class");
    if (!in_class && regex.compare(i, 2, "(?") == 0 && i + 2 < regex.size()) {
      const std::string_view rest = std::string_view(regex).substr(i + 2);
      const char kind = rest.front();
      if (kind != ':' && kind != '=' && kind != '!' && kind != '<' && kind != '>' && rest.substr(0, 2) != "i:")
        refuse(what, regex, str("the group '(?", kind, "'"));
    }
    if (c == '[') {
      in_class = true;
    } else if (c == ']') {
      in_class = false;
    }
    out += c;
    // A ']' right after '[' or '[^' is a literal in both engines.
    if (c == '[' && i + 1 < regex.size()) {
      if (regex[i + 1] == '^') out += regex[++i];
      if (i + 1 < regex.size() && regex[i + 1] == ']') {
        out += "\\]";
        ++i;
      }
    }
  }
  return out;
}

struct CodeDeleter {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};
struct MatchContextDeleter {
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};
struct MatchDataDeleter {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};

class PcrePattern final : public Pattern {
 public:
  PcrePattern(const std::string& regex, std::string_view what) : what_(what) {
    const std::string source = translated(regex, what);
    int error = 0;
    PCRE2_SIZE offset = 0;
    code_.reset(
        pcre2_compile(reinterpret_cast<PCRE2_SPTR>(source.data()), source.size(),
                      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C | PCRE2_USE_OFFSET_LIMIT,
                      &error, &offset, nullptr));
    if (code_ == nullptr) {
      PCRE2_UCHAR message[200];
      pcre2_get_error_message(error, message, sizeof message);
      throw_input(str(what, ": regular expression '", printable(regex, 120), "' cannot be compiled (",
                      reinterpret_cast<const char*>(message), ")"));
    }
    context_.reset(pcre2_match_context_create(nullptr));
    if (context_ == nullptr) throw_resource(str(what, ": out of memory for the regular expression"));
    pcre2_set_match_limit(context_.get(), kMatchLimit);
    pcre2_set_heap_limit(context_.get(), kHeapLimitKiB);
  }

  void for_each_match(std::string_view text, const MatchSink& sink) const override {
    const std::unique_ptr<pcre2_match_data, MatchDataDeleter> data(
        pcre2_match_data_create_from_pattern(code_.get(), nullptr));
    const std::unique_ptr<pcre2_match_context, MatchContextDeleter> context(pcre2_match_context_copy(context_.get()));
    if (data == nullptr || context == nullptr) throw_resource(str(what_, ": out of memory for the regular expression"));
    Effort effort(text.size());
    Clock clock(text.size());
    size_t window = kWindow;
    for (size_t at = 0; at < text.size();) {
      const size_t end = character_end(text, at + window);
      const size_t starts = window > kWindow ? 1 : kStarts;
      if (window > kWindow) effort.spend(end - at);
      if (clock.late()) give_up(str("took more than ", clock.limit(), " s"), at);
      pcre2_set_offset_limit(context.get(), at + starts - 1);
      const int count =
          pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), end, at,
                      PCRE2_NO_UTF_CHECK | (end < text.size() ? PCRE2_PARTIAL_HARD : 0U), data.get(), context.get());
      const PCRE2_SIZE* range = pcre2_get_ovector_pointer(data.get());
      if (count == PCRE2_ERROR_PARTIAL) {  // no match before range[0], and more of the text is needed there
        window = std::max(2 * (end - range[0]), kWindow + 1);
        at = range[0];
        continue;
      }
      window = kWindow;
      if (count == PCRE2_ERROR_NOMATCH) {
        at = character_end(text, at + starts);
        continue;
      }
      if (count < 0) give_up(str("needs more than ", kMatchLimit, " steps (PCRE2 error ", count, ")"), at);
      if (range[1] <= range[0]) {  // an empty match: go on one character later
        if (range[0] >= text.size()) return;
        at = range[0] + code_point_at(text, range[0]).length;
        continue;
      }
      sink(range[0], range[1]);
      at = range[1];
    }
  }

 private:
  // Time of this thread, which nothing else bounds: a step of the engine may read a whole window.
  class Clock {
   public:
    explicit Clock(size_t bytes)
        : limit_(1.0 + 2e-6 * static_cast<double>(bytes)), started_(now(CLOCK_THREAD_CPUTIME_ID)) {}
    // The wall clock is cheap to read: it says when the thread's is worth a look.
    [[nodiscard]] bool late() {
      if (now(CLOCK_MONOTONIC) < next_look_) return false;
      next_look_ = now(CLOCK_MONOTONIC) + 0.05;
      return now(CLOCK_THREAD_CPUTIME_ID) - started_ > limit_;
    }
    [[nodiscard]] double limit() const { return limit_; }

   private:
    static double now(clockid_t clock) {
      timespec time{};
      clock_gettime(clock, &time);
      return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
    }
    double limit_, started_;
    double next_look_ = now(CLOCK_MONOTONIC) + 0.05;
  };

  [[noreturn]] void give_up(const std::string& why, size_t at) const {
    throw_input(str(what_, ": the regular expression gave up, as it ", why, " at byte ", at,
                    " of the text; it backtracks too much"));
  }

  // `at`, or the next place where a character begins; at most the text's end.
  static size_t character_end(std::string_view text, size_t at) {
    while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) ++at;
    return std::min(at, text.size());
  }

  std::string what_;
  std::unique_ptr<pcre2_code, CodeDeleter> code_;
  std::unique_ptr<pcre2_match_context, MatchContextDeleter> context_;
};

}  // namespace

std::unique_ptr<Pattern> literal_pattern(std::string literal) {
  if (literal.empty()) throw_input("tokenizer.json: a pattern is the empty string; expected at least one character");
  return std::make_unique<LiteralPattern>(std::move(literal));
}

std::unique_ptr<Pattern> pcre_pattern(const std::string& regex, std::string_view what) {
  if (regex.empty() || regex.size() > kMaxRegexLength)
    throw_input(str(what, ": regular expression has ", regex.size(), " bytes; expected 1 to ", kMaxRegexLength));
  return std::make_unique<PcrePattern>(regex, what);
}

std::unique_ptr<Pattern> regex_pattern(const std::string& regex, std::string_view what) {
  auto scanner = scanner_pattern(regex);
  return scanner != nullptr ? std::move(scanner) : pcre_pattern(regex, what);
}

}  // namespace arkit::text
