#include "text/pre_tokenizer.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include <arkit/error.h>
#include <arkit/sdk/pretokenizer_patterns.h>
#include <arkit/str.h>

#include "text/byte_alphabet.h"
#include "text/component.h"
#include "text/unicode.h"

namespace arkit::text {

PreTokenizerStep::~PreTokenizerStep() = default;

namespace {

constexpr std::string_view kWhat = "tokenizer.json: pre_tokenizer";
constexpr size_t kPieceBytes = 8;  // what a piece costs beside its bytes

enum class SplitBehavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

SplitBehavior parse_behavior(const std::string& name) {
  if (name == "Removed") return SplitBehavior::removed;
  if (name == "Isolated") return SplitBehavior::isolated;
  if (name == "MergedWithPrevious") return SplitBehavior::merged_with_previous;
  if (name == "MergedWithNext") return SplitBehavior::merged_with_next;
  if (name == "Contiguous") return SplitBehavior::contiguous;
  throw_unsupported(str(kWhat, ": split behavior '", printable(name, 40), "' is not known"));
}

struct Span {
  size_t begin, end;
  bool match;
};

// Joins matches and gaps as the crate's SplitDelimiterBehavior does; removed matches get begin == end.
std::vector<Span> arrange(std::vector<Span> spans, SplitBehavior behavior) {
  std::vector<Span> out;
  bool previous_match = false;
  const auto fold = [&](const Span& span, auto extends, auto extend) {
    if (!out.empty() && extends(span))
      extend(out.back(), span);
    else
      out.push_back(span);
    previous_match = span.match;
  };
  const auto grow_right = [](Span& last, const Span& span) { last.end = span.end; };
  const auto grow_left = [](Span& last, const Span& span) { last.begin = span.begin; };
  const auto lone_match = [&](const Span& span) { return span.match && !previous_match; };
  switch (behavior) {
    case SplitBehavior::isolated:
      return spans;
    case SplitBehavior::removed:
      std::erase_if(spans, [](const Span& span) { return span.match; });
      return spans;
    case SplitBehavior::merged_with_previous:
      for (const Span& span : spans) fold(span, lone_match, grow_right);
      return out;
    case SplitBehavior::merged_with_next:
      std::reverse(spans.begin(), spans.end());
      for (const Span& span : spans) fold(span, lone_match, grow_left);
      std::reverse(out.begin(), out.end());
      return out;
    case SplitBehavior::contiguous:
      for (const Span& span : spans)
        fold(
            span, [&](const Span& s) { return s.match == previous_match; }, grow_right);
      return out;
  }
  return spans;
}

class Split final : public PreTokenizerStep {
 public:
  Split(std::unique_ptr<Pattern> pattern, SplitBehavior behavior, bool invert)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}

  void split(Piece piece, const PieceSink& sink) const override {
    if (behavior_ == SplitBehavior::isolated) {
      isolate(piece, sink);
      return;
    }
    std::vector<Span> spans;
    size_t done = 0;
    pattern_->for_each_match(piece.text, [&](size_t begin, size_t end) {
      if (begin > done) spans.push_back({done, begin, invert_});
      spans.push_back({begin, end, !invert_});
      done = end;
    });
    if (done < piece.text.size()) spans.push_back({done, piece.text.size(), invert_});
    for (const Span& span : arrange(std::move(spans), behavior_)) emit(piece, span.begin, span.end, sink);
  }

 private:
  // Matches and gaps all become pieces: no list is needed.
  void isolate(Piece piece, const PieceSink& sink) const {
    size_t done = 0;
    pattern_->for_each_match(piece.text, [&](size_t begin, size_t end) {
      emit(piece, done, begin, sink);
      emit(piece, begin, end, sink);
      done = end;
    });
    emit(piece, done, piece.text.size(), sink);
  }
  static void emit(Piece piece, size_t begin, size_t end, const PieceSink& sink) {
    if (end > begin) sink({piece.text.substr(begin, end - begin), piece.at_start && begin == 0});
  }

  std::unique_ptr<Pattern> pattern_;
  SplitBehavior behavior_;
  bool invert_;
};

// Maximal runs of one class of characters, or each such character.
class ClassPattern final : public Pattern {
 public:
  ClassPattern(uint16_t mask, bool runs) : mask_(mask), runs_(runs) {}
  void for_each_match(std::string_view text, const MatchSink& sink) const override {
    const ClassTable& classes = class_table();
    size_t begin = 0;
    bool inside = false;
    for (size_t at = 0; at < text.size();) {
      const CodePoint c = code_point_at(text, at);
      const bool match = (classes[c.code] & mask_) != 0;
      if (inside && (!match || !runs_)) sink(begin, at);
      if (match && (!inside || !runs_)) begin = at;
      inside = match;
      at += c.length;
    }
    if (inside) sink(begin, text.size());
  }

 private:
  uint16_t mask_;
  bool runs_;
};

// \w+|[^\w\s]+
class WordPattern final : public Pattern {
 public:
  void for_each_match(std::string_view text, const MatchSink& sink) const override {
    const ClassTable& classes = class_table();
    const auto kind_at = [&](size_t at) {
      const uint16_t flags = classes[code_point_at(text, at).code];
      return (flags & kWord) != 0 ? 1 : (flags & kSpace) != 0 ? 0 : 2;
    };
    for (size_t at = 0; at < text.size();) {
      const int kind = kind_at(at);
      const size_t begin = at;
      while (at < text.size() && kind_at(at) == kind) at += code_point_at(text, at).length;
      if (kind != 0) sink(begin, at);
    }
  }
};

class PrefixSpace final : public PreTokenizerStep {
 public:
  void split(Piece piece, const PieceSink& sink) const override {
    if (piece.text.front() == ' ') {
      sink(piece);
      return;
    }
    std::string prefixed(" ");
    prefixed += piece.text;
    sink({prefixed, piece.at_start});
  }
};

class ByteAlphabet final : public PreTokenizerStep {
 public:
  void split(Piece piece, const PieceSink& sink) const override {
    std::string mapped;
    append_printable_bytes(mapped, piece.text);
    sink({mapped, piece.at_start});
  }
};

class Metaspace final : public PreTokenizerStep {
 public:
  enum class Prepend { always, first, never };
  Metaspace(std::string replacement, Prepend prepend, bool cut)
      : replacement_(std::move(replacement)), prepend_(prepend), cut_(cut) {}

  void split(Piece piece, const PieceSink& sink) const override {
    std::string text;
    text.reserve(piece.text.size() + replacement_.size());
    const bool wanted = prepend_ == Prepend::always || (prepend_ == Prepend::first && piece.at_start);
    if (wanted && piece.text.front() != ' ' && !piece.text.starts_with(replacement_)) text += replacement_;
    for (const char c : piece.text) {
      if (c == ' ')
        text += replacement_;
      else
        text += c;
    }
    if (!cut_) {
      sink({text, piece.at_start});
      return;
    }
    // MergedWithNext cuts before every replacement character.
    size_t begin = 0;
    for (size_t at = text.find(replacement_, 1); begin < text.size(); at = text.find(replacement_, at + 1)) {
      const size_t end = std::min(at, text.size());
      sink({std::string_view(text).substr(begin, end - begin), piece.at_start && begin == 0});
      begin = end;
      if (at == std::string::npos) break;
    }
  }

 private:
  std::string replacement_;
  Prepend prepend_;
  bool cut_;
};

std::unique_ptr<PreTokenizerStep> make_metaspace(const json::Object& spec) {
  std::string replacement = json::get_string(spec, "replacement", kWhat).value_or("\u2581");
  if (replacement.empty() || code_point_at(replacement, 0).length != replacement.size())
    throw_input(str(kWhat, ": Metaspace replacement '", printable(replacement, 40), "' is not one character"));
  // Files before tokenizers 0.14 say add_prefix_space instead of prepend_scheme.
  const bool add_prefix = json::get_bool(spec, "add_prefix_space", kWhat).value_or(true);
  const std::string scheme = json::get_string(spec, "prepend_scheme", kWhat).value_or(add_prefix ? "always" : "never");
  Metaspace::Prepend prepend = Metaspace::Prepend::never;
  if (scheme == "always")
    prepend = Metaspace::Prepend::always;
  else if (scheme == "first")
    prepend = Metaspace::Prepend::first;
  else if (scheme != "never")
    throw_unsupported(
        str(kWhat, ": Metaspace prepend_scheme '", printable(scheme, 40), "'; expected always, first or never"));
  return std::make_unique<Metaspace>(std::move(replacement), prepend,
                                     json::get_bool(spec, "split", kWhat).value_or(true));
}

std::unique_ptr<PreTokenizerStep> isolated(std::unique_ptr<Pattern> pattern) {
  return std::make_unique<Split>(std::move(pattern), SplitBehavior::isolated, false);
}

std::unique_ptr<PreTokenizerStep> make_step(const std::string& type, const json::Object& spec) {
  if (type == "Split")
    return std::make_unique<Split>(component_pattern(spec, kWhat),
                                   parse_behavior(required_string(spec, "behavior", kWhat)),
                                   json::get_bool(spec, "invert", kWhat).value_or(false));
  if (type == "Digits") {
    const bool each = json::get_bool(spec, "individual_digits", kWhat).value_or(false);
    return isolated(std::make_unique<ClassPattern>(kDigit, !each));
  }
  if (type == "Metaspace") return make_metaspace(spec);
  if (type == "Whitespace")
    return std::make_unique<Split>(std::make_unique<WordPattern>(), SplitBehavior::removed, true);
  if (type == "WhitespaceSplit")
    return std::make_unique<Split>(std::make_unique<ClassPattern>(kSpace, false), SplitBehavior::removed, false);
  if (type == "Punctuation")
    return std::make_unique<Split>(std::make_unique<ClassPattern>(kBertPunct, false),
                                   parse_behavior(json::get_string(spec, "behavior", kWhat).value_or("Isolated")),
                                   false);
  if (type == "CharDelimiterSplit")
    return std::make_unique<Split>(literal_pattern(required_string(spec, "delimiter", kWhat)), SplitBehavior::removed,
                                   false);
  unknown_component(kWhat, type);
}

}  // namespace

PreTokenizer::PreTokenizer(const json::Value* spec) {
  for_each_component(spec, kWhat, "pretokenizers", [&](const std::string& type, const json::Object& component) {
    if (std::exchange(bytes_out_, false)) steps_.push_back(std::make_unique<ByteAlphabet>());  // it was not the last
    if (type != "ByteLevel") {
      steps_.push_back(make_step(type, component));
      return;
    }
    if (json::get_bool(component, "add_prefix_space", kWhat).value_or(true))
      steps_.push_back(std::make_unique<PrefixSpace>());
    if (json::get_bool(component, "use_regex", kWhat).value_or(true))
      steps_.push_back(isolated(regex_pattern(std::string(pretokenizer_patterns::kGpt2), kWhat)));
    bytes_out_ = true;
  });
  check_steps(steps_.size(), std::string(kWhat));
}

void PreTokenizer::run(size_t step, Piece piece, Effort& effort, const PieceSink& sink) const {
  if (piece.text.empty()) return;
  if (step == steps_.size()) {
    sink(piece);
    return;
  }
  effort.spend(kPieceBytes + piece.text.size());
  steps_[step]->split(piece, [&](Piece part) { run(step + 1, part, effort, sink); });
}

}  // namespace arkit::text
