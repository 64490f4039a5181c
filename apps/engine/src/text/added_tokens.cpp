#include "text/added_tokens.h"

#include <algorithm>

#include <arkit/error.h>
#include <arkit/str.h>

#include "text/unicode.h"

namespace arkit::text {
namespace {

constexpr size_t kMaxBytes = size_t{1} << 20;  // of all tokens; a hundred thousand in real files
constexpr size_t kNodeCost = 32;  // a look-up in the trie misses the cache: so many bytes of text gone through

bool word_before(std::string_view text, size_t at) {
  return at > 0 && (class_table()[code_point_at(text, previous_code_point(text, at)).code] & kWord) != 0;
}
bool word_after(std::string_view text, size_t at) {
  return at < text.size() && (class_table()[code_point_at(text, at).code] & kWord) != 0;
}
size_t skip_spaces_left(std::string_view text, size_t at) {
  while (at > 0) {
    const size_t previous = previous_code_point(text, at);
    if ((class_table()[code_point_at(text, previous).code] & kSpace) == 0) break;
    at = previous;
  }
  return at;
}
size_t skip_spaces_right(std::string_view text, size_t at) {
  while (at < text.size()) {
    const CodePoint c = code_point_at(text, at);
    if ((class_table()[c.code] & kSpace) == 0) break;
    at += c.length;
  }
  return at;
}

}  // namespace

void AddedTokenFinder::add(std::string_view content, const AddedToken& token) {
  if (content.empty()) return;
  bytes_ += content.size();
  if (bytes_ > kMaxBytes)
    throw_input(str("tokenizer.json: added_tokens have more than ", kMaxBytes, " bytes in all, the limit"));
  int32_t node = 0;
  for (const char c : content) {
    const auto [edge, is_new] =
        edges_.emplace(uint64_t{static_cast<uint32_t>(node)} << 8 | static_cast<unsigned char>(c),
                       static_cast<int32_t>(pattern_of_node_.size()));
    if (is_new) pattern_of_node_.push_back(-1);
    node = edge->second;
  }
  starts_[static_cast<unsigned char>(content.front())] = true;
  int32_t& pattern = pattern_of_node_[static_cast<size_t>(node)];
  if (pattern >= 0) return;  // two tokens with one normalized form: the first counts
  pattern = static_cast<int32_t>(patterns_.size());
  patterns_.push_back({token.id, token.single_word, token.lstrip, token.rstrip});
}

void AddedTokenFinder::finish() {
  children_ = PairTable(edges_.size());
  for (const auto& [edge, child] : edges_)
    children_.set(static_cast<int32_t>(edge >> 8), static_cast<int32_t>(edge & 255), {0, child});
  edges_.clear();
}

AddedTokenFinder::Match AddedTokenFinder::longest_at(std::string_view text, size_t begin, Effort& effort) const {
  Match match;
  int32_t node = 0;
  size_t at = begin;
  for (; at < text.size(); ++at) {
    const auto* child = children_.find(node, static_cast<unsigned char>(text[at]));
    if (child == nullptr) break;
    node = child->id;
    const int32_t pattern = pattern_of_node_[static_cast<size_t>(node)];
    if (pattern >= 0) match = {&patterns_[static_cast<size_t>(pattern)], at + 1};
  }
  effort.spend((at - begin) * kNodeCost);
  return match;
}

void AddedTokenFinder::cut(std::string_view text, Effort& effort, const std::function<void(size_t, size_t)>& text_sink,
                           const std::function<void(int32_t)>& token_sink) const {
  size_t done = 0;
  for (size_t at = 0; at < text.size();) {
    if (!starts_[static_cast<unsigned char>(text[at])]) {
      ++at;
      continue;
    }
    const Match match = longest_at(text, at, effort);
    if (match.pattern == nullptr) {
      ++at;
      continue;
    }
    size_t begin = at, end = match.end;
    at = end;
    if (match.pattern->single_word && (word_before(text, begin) || word_after(text, end))) continue;
    // Spaces that the token before has swallowed stay with it.
    if (match.pattern->lstrip) begin = std::max(skip_spaces_left(text, begin), done);
    if (match.pattern->rstrip) end = skip_spaces_right(text, end);
    if (done < begin) text_sink(done, begin);
    token_sink(match.pattern->id);
    done = end;
  }
  if (done < text.size()) text_sink(done, text.size());
}

}  // namespace arkit::text
