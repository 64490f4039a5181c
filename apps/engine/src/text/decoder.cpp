#include "text/decoder.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>
#include <utility>

#include <arkit/error.h>
#include <arkit/str.h>

#include "text/byte_alphabet.h"
#include "text/component.h"
#include "text/unicode.h"

namespace arkit::text {

DecoderStep::~DecoderStep() = default;

namespace {

constexpr std::string_view kWhat = "tokenizer.json: decoder";

std::string joined(const TokenStrings& tokens, std::string_view separator = "") {
  std::string out;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (i > 0) out += separator;
    out += tokens[i];
  }
  return out;
}

// The bytes of tokens, and some for each that has none.
size_t cost(const TokenStrings& tokens) {
  size_t bytes = 0;
  for (const std::string& token : tokens) bytes += 8 + token.size();
  return bytes;
}

// Characters of the byte alphabet to bytes; a token with any other character is text already.
class ByteLevel final : public DecoderStep {
 public:
  [[nodiscard]] TokenStrings apply(TokenStrings tokens, Effort&) const override {
    std::string bytes;
    for (const std::string& token : tokens)
      if (!append_alphabet_bytes(bytes, token)) bytes += token;
    return {repair_utf8(bytes)};
  }
  [[nodiscard]] bool to_bytes(std::string& token, bool&) const override {
    std::string bytes;
    if (append_alphabet_bytes(bytes, token)) token = std::move(bytes);
    return true;
  }
};

// Runs of <0xXX> tokens to text; a run that is not valid UTF-8 gives one U+FFFD a byte.
class ByteFallback final : public DecoderStep {
 public:
  [[nodiscard]] TokenStrings apply(TokenStrings tokens, Effort&) const override {
    TokenStrings out;
    std::string run;
    const auto flush = [&] {
      if (run.empty()) return;
      if (valid_utf8_prefix(run) == run.size())
        out.push_back(run);
      else
        out.insert(out.end(), run.size(), "\uFFFD");
      run.clear();
    };
    for (std::string& token : tokens) {
      if (const auto byte = byte_of(token)) {
        run += *byte;
        continue;
      }
      flush();
      out.push_back(std::move(token));
    }
    flush();
    return out;
  }
  [[nodiscard]] bool to_bytes(std::string& token, bool&) const override {
    if (const auto byte = byte_of(token)) token = std::string(1, *byte);
    return true;
  }

 private:
  static std::optional<char> byte_of(std::string_view token) {
    if (token.size() != 6 || !token.starts_with("<0x") || token.back() != '>') return std::nullopt;
    unsigned value = 0;
    const auto result = std::from_chars(token.data() + 3, token.data() + 5, value, 16);
    if (result.ec != std::errc() || result.ptr != token.data() + 5) return std::nullopt;
    return static_cast<char>(value);
  }
};

class Fuse final : public DecoderStep {
 public:
  [[nodiscard]] TokenStrings apply(TokenStrings tokens, Effort&) const override { return {joined(tokens)}; }
  [[nodiscard]] bool to_bytes(std::string&, bool& joined) const override {
    joined = true;
    return true;
  }
};

class Replace final : public DecoderStep {
 public:
  Replace(std::unique_ptr<Pattern> pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  [[nodiscard]] TokenStrings apply(TokenStrings tokens, Effort& effort) const override {
    for (std::string& token : tokens) {
      std::string out;
      size_t done = 0;
      pattern_->for_each_match(token, [&](size_t begin, size_t end) {
        out.append(token, done, begin - done);
        effort.spend(content_.size());
        out += content_;
        done = end;
      });
      if (done == 0) continue;
      out.append(token, done);
      token = std::move(out);
    }
    return tokens;
  }
  [[nodiscard]] bool to_bytes(std::string& token, bool&) const override {
    if (valid_utf8_prefix(token) != token.size()) return true;  // a byte by itself
    Effort effort(token.size());
    token = apply({std::move(token)}, effort).at(0);
    return true;
  }

 private:
  std::unique_ptr<Pattern> pattern_;
  std::string content_;
};

// Removes up to `start` leading and `stop` trailing occurrences of a character from every token.
class Strip final : public DecoderStep {
 public:
  Strip(std::string content, int64_t start, int64_t stop) : content_(std::move(content)), start_(start), stop_(stop) {}
  [[nodiscard]] TokenStrings apply(TokenStrings tokens, Effort&) const override {
    for (std::string& token : tokens) {
      size_t begin = 0, end = token.size();
      for (int64_t i = 0; i < start_ && token.compare(begin, content_.size(), content_) == 0; ++i)
        begin += content_.size();
      for (int64_t i = 0; i < stop_ && end >= begin + content_.size() &&
                          token.compare(end - content_.size(), content_.size(), content_) == 0;
           ++i)
        end -= content_.size();
      token = token.substr(begin, end - begin);
    }
    return tokens;
  }
  [[nodiscard]] bool to_bytes(std::string& token, bool& joined) const override {
    Effort effort(token.size());
    if (!joined) token = apply({std::move(token)}, effort).at(0);
    return true;
  }

 private:
  std::string content_;
  int64_t start_, stop_;
};

// The replacement character to a blank; in the first token it vanishes unless nothing was ever prepended.
class Metaspace final : public DecoderStep {
 public:
  Metaspace(std::string replacement, bool prepends) : replacement_(std::move(replacement)), prepends_(prepends) {}
  [[nodiscard]] TokenStrings apply(TokenStrings tokens, Effort&) const override {
    for (size_t i = 0; i < tokens.size(); ++i) {
      std::string out;
      const std::string& token = tokens[i];
      for (size_t at = 0; at < token.size();) {
        const size_t found = std::min(token.find(replacement_, at), token.size());
        out.append(token, at, found - at);
        at = found;
        if (at == token.size()) break;
        if (i > 0 || !prepends_) out += ' ';
        at += replacement_.size();
      }
      tokens[i] = std::move(out);
    }
    return tokens;
  }
  [[nodiscard]] bool to_bytes(std::string& token, bool&) const override {
    Effort effort(token.size());
    token = apply({std::string(), std::move(token)}, effort).at(1);
    return true;
  }

 private:
  std::string replacement_;
  bool prepends_;
};

// End-of-word suffixes become blanks, except after the last token.
class BpeSuffix final : public DecoderStep {
 public:
  explicit BpeSuffix(std::string suffix) : suffix_(std::move(suffix)) {}
  [[nodiscard]] TokenStrings apply(TokenStrings tokens, Effort&) const override {
    for (size_t i = 0; i < tokens.size(); ++i) {
      const std::string_view blank = i + 1 < tokens.size() ? " " : "";
      const std::string& token = tokens[i];
      std::string out;
      size_t done = 0;
      for (size_t at = token.find(suffix_); at != std::string::npos; at = token.find(suffix_, done)) {
        (out.append(token, done, at - done)) += blank;
        done = at + suffix_.size();
      }
      if (done > 0) tokens[i] = out.append(token, done);
    }
    return tokens;
  }
  [[nodiscard]] bool to_bytes(std::string&, bool&) const override { return false; }  // the last one has no blank

 private:
  std::string suffix_;
};

std::string nonempty(std::string text, std::string_view key) {
  if (text.empty()) throw_input(str(kWhat, ": '", key, "' is empty; expected at least one character"));
  return text;
}

std::unique_ptr<DecoderStep> make_step(const std::string& type, const json::Object& spec) {
  if (type == "ByteLevel") return std::make_unique<ByteLevel>();
  if (type == "ByteFallback") return std::make_unique<ByteFallback>();
  if (type == "Fuse") return std::make_unique<Fuse>();
  if (type == "Replace")
    return std::make_unique<Replace>(component_pattern(spec, kWhat), required_string(spec, "content", kWhat));
  if (type == "Strip")
    return std::make_unique<Strip>(nonempty(required_string(spec, "content", kWhat), "content"),
                                   json::get_int(spec, "start", kWhat).value_or(0),
                                   json::get_int(spec, "stop", kWhat).value_or(0));
  if (type == "Metaspace") {
    const bool add_prefix = json::get_bool(spec, "add_prefix_space", kWhat).value_or(true);
    const auto scheme = json::get_string(spec, "prepend_scheme", kWhat).value_or(add_prefix ? "always" : "never");
    return std::make_unique<Metaspace>(
        nonempty(json::get_string(spec, "replacement", kWhat).value_or("\u2581"), "replacement"), scheme != "never");
  }
  if (type == "BPEDecoder")
    return std::make_unique<BpeSuffix>(nonempty(json::get_string(spec, "suffix", kWhat).value_or("</w>"), "suffix"));
  unknown_component(kWhat, type);
}

}  // namespace

Decoder::Decoder(const json::Value* spec) {
  for_each_component(spec, kWhat, "decoders", [&](const std::string& type, const json::Object& component) {
    steps_.push_back(make_step(type, component));
  });
  check_steps(steps_.size(), std::string(kWhat));
}

std::optional<std::string> Decoder::bytes_of(std::string token) const {
  if (steps_.empty()) return std::nullopt;  // blanks between
  bool joined = false;
  for (const auto& step : steps_)
    if (!step->to_bytes(token, joined)) return std::nullopt;
  return token;
}

std::string Decoder::decode(TokenStrings tokens) const {
  if (steps_.empty()) return joined(tokens, " ");
  Effort effort(cost(tokens));
  for (const auto& step : steps_) {
    effort.spend(cost(tokens));
    tokens = step->apply(std::move(tokens), effort);
  }
  return joined(tokens);
}

}  // namespace arkit::text
