#include "text/text_stream.h"

#include <algorithm>
#include <utility>

#include <arkit/error.h>
#include <arkit/str.h>

#include "text/unicode.h"

namespace arkit::text {
namespace {

constexpr std::string_view kNoCharacter = "\uFFFD";
constexpr size_t kMostBytes = 4;  // of a character: so many tokens at most have one byte each

// How many bytes at the end of `text` begin `stop`, but are not all of it.
size_t begun(std::string_view text, std::string_view stop) {
  for (size_t n = std::min(text.size(), stop.size() - 1); n > 0; --n)
    if (text.ends_with(stop.substr(0, n))) return n;
  return 0;
}

}  // namespace

void check_stop_texts(std::span<const std::string> stops) {
  for (const std::string& stop : stops) {
    if (stop.empty()) throw_usage("a stop text is empty; give it a character at least");
    if (valid_utf8_prefix(stop) != stop.size())
      throw_usage(str("stop text '", printable(stop), "' is not UTF-8, and no output would contain it"));
  }
}

TextStream::TextStream(const Tokenizer& tokenizer, std::vector<std::string> stops, bool special_tokens)
    : tokenizer_(tokenizer), stops_(std::move(stops)), special_tokens_(special_tokens) {}

std::string TextStream::push(int64_t token) {
  if (stopped_) return {};
  tokens_.push_back(token);
  return certain(decoded(false), false);
}

std::string TextStream::finish() {
  if (stopped_) return {};
  return certain(decoded(true), true);
}

// What the tokens after done_ add to the text.
std::string TextStream::decoded(bool all) {
  const std::span<const int64_t> window = std::span<const int64_t>(tokens_).subspan(begin_);
  const auto decode = [&](std::span<const int64_t> ids) { return tokenizer_.decode(ids, !special_tokens_); };
  const std::string before = decode(window.first(done_ - begin_)), now = decode(window);
  const bool waits = now.ends_with(kNoCharacter) && tokens_.size() - done_ < kMostBytes;
  if (waits && !all) return {};
  // Bytes may turn a character that was shown into none; what was shown stays.
  std::string more = now.starts_with(before) ? now.substr(before.size()) : decode(window.subspan(done_ - begin_));
  // A window begins with text: a decoder may treat the beginning of all text in a way of its own.
  if (!more.empty()) begin_ = done_;
  done_ = tokens_.size();
  return more;
}

std::string TextStream::certain(std::string_view more, bool all) {
  held_ += more;
  size_t end = held_.size(), kept = 0;
  for (const std::string& stop : stops_) {
    const size_t found = held_.find(stop);
    if (found == std::string::npos) continue;
    stopped_ = true;
    end = std::min(end, found);
  }
  if (!stopped_ && !all)
    for (const std::string& stop : stops_) kept = std::max(kept, begun(held_, stop));
  std::string out = held_.substr(0, end - kept);
  held_.erase(0, stopped_ ? held_.size() : out.size());
  text_ += out;
  return out;
}

}  // namespace arkit::text
