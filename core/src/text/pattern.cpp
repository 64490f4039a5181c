#include "text/pattern.h"

#include <cstdint>
#include <utility>
#include <vector>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <arkit/error.h>
#include <arkit/str.h>

#include "text/unicode.h"

namespace arkit::text {

Pattern::~Pattern() = default;

namespace {

constexpr size_t kMaxRegexLength = 1 << 16;
// Backtracking steps one match may take; the regexes of real tokenizers need a few dozen.
constexpr uint32_t kMatchLimit = 1'000'000;
constexpr uint32_t kHeapLimitKiB = 64 * 1024;

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
    code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(source.data()), source.size(),
                              PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error, &offset,
                              nullptr));
    if (code_ == nullptr) {
      PCRE2_UCHAR message[200];
      pcre2_get_error_message(error, message, sizeof message);
      throw_input(str(what, ": regular expression '", printable(regex, 120), "' cannot be compiled (",
                      reinterpret_cast<const char*>(message), ")"));
    }
    // Without the compiler for this machine matching is only slower.
    (void)pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE);
    context_.reset(pcre2_match_context_create(nullptr));
    if (context_ == nullptr) throw_resource(str(what, ": out of memory for the regular expression"));
    pcre2_set_match_limit(context_.get(), kMatchLimit);
    pcre2_set_heap_limit(context_.get(), kHeapLimitKiB);
  }

  void for_each_match(std::string_view text, const MatchSink& sink) const override {
    const std::unique_ptr<pcre2_match_data, MatchDataDeleter> data(
        pcre2_match_data_create_from_pattern(code_.get(), nullptr));
    if (data == nullptr) throw_resource(str(what_, ": out of memory for the regular expression"));
    for (size_t at = 0; at < text.size();) {
      const int count = match(text, at, data.get());
      if (count == PCRE2_ERROR_NOMATCH) return;
      if (count < 0)
        throw_input(str(what_, ": the regular expression gave up after ", kMatchLimit, " steps (PCRE2 error ", count,
                        ") at byte ", at, " of the text; it backtracks too much"));
      const PCRE2_SIZE* range = pcre2_get_ovector_pointer(data.get());
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
  int match(std::string_view text, size_t at, pcre2_match_data* data) const {
    const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
    const int count = pcre2_match(code_.get(), subject, text.size(), at, PCRE2_NO_UTF_CHECK, data, context_.get());
    if (count != PCRE2_ERROR_JIT_STACKLIMIT) return count;
    return pcre2_match(code_.get(), subject, text.size(), at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data, context_.get());
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
