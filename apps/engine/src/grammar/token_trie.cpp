#include "grammar/token_trie.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace arkit::grammar {
namespace {

// A longer one is no word of a text; as a token it is not used.
constexpr size_t kMostBytes = 1024;
static_assert(kMostBytes <= std::numeric_limits<uint16_t>::max());

}  // namespace

TokenTrie::TokenTrie(const std::vector<std::string>& bytes) : next_same_(bytes.size(), -1) {
  begins_.reserve(bytes.size() + 1);
  for (const std::string& token : bytes) {
    begins_.push_back(text_.size());
    text_ += token;
    if (token.size() == 1) single_[static_cast<uint8_t>(token[0])] = true;
  }
  begins_.push_back(text_.size());

  std::vector<int32_t> order(bytes.size());
  std::iota(order.begin(), order.end(), 0);
  std::erase_if(order, [&](int32_t id) {
    const size_t size = bytes[static_cast<size_t>(id)].size();
    return size == 0 || size > kMostBytes;
  });
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return bytes[static_cast<size_t>(a)] < bytes[static_cast<size_t>(b)]; });
  std::vector<size_t> path;  // nodes of the token before
  const std::string* before = nullptr;
  int32_t last = -1;
  const auto leave = [&](size_t depth) {
    while (path.size() > depth) {
      nodes_[path.back()].skip = static_cast<int32_t>(nodes_.size());
      path.pop_back();
    }
  };
  for (const int32_t id : order) {
    const std::string& token = bytes[static_cast<size_t>(id)];
    longest_ = std::max(longest_, token.size());
    size_t same = 0;
    if (before != nullptr)
      while (same < token.size() && same < before->size() && token[same] == (*before)[same]) ++same;
    leave(same);
    for (size_t i = same; i < token.size(); ++i) {
      path.push_back(nodes_.size());
      nodes_.push_back({.depth = static_cast<uint16_t>(i + 1), .byte = static_cast<uint8_t>(token[i])});
    }
    Node& end = nodes_[path.back()];
    if (end.token < 0)
      end.token = id;
    else
      next_same_[static_cast<size_t>(last)] = id;
    last = id;
    before = &token;
  }
  leave(0);
}

std::string_view TokenTrie::bytes(int64_t token) const {
  if (token < 0 || token >= tokens()) return {};
  const auto id = static_cast<size_t>(token);
  return std::string_view(text_).substr(begins_[id], begins_[id + 1] - begins_[id]);
}

}  // namespace arkit::grammar
