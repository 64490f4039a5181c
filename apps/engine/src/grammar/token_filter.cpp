#include "grammar/token_filter.h"

namespace arkit::grammar {
namespace {

constexpr size_t kMostWords = size_t{4} << 20;  // 32 MiB of masks, for states and for sets each
constexpr size_t kFewTokens = 256;

}  // namespace

void TokenFilter::let_pass(int32_t token, TokenBits& bits) const {
  for (; token >= 0; token = trie_.next_same(token))
    bits[static_cast<size_t>(token) / 64] |= uint64_t{1} << (static_cast<size_t>(token) % 64);
}

// Calls seen(node, set) for the nodes from `begin` to `end` whose bytes, behind `depth` ones that led to `set`, fit.
template <typename Seen>
void TokenFilter::walk(SetId set, int32_t begin, int32_t end, uint16_t depth, const Seen& seen) {
  const auto nodes = trie_.nodes();
  path_[depth] = set;
  for (int32_t i = begin; i < end;) {
    const TokenTrie::Node& node = nodes[static_cast<size_t>(i)];
    const SetId here = machine_.next(path_[node.depth - size_t{1}], node.byte);
    if (here == Machine::kDead) {
      i = node.skip;
      continue;
    }
    path_[node.depth] = here;
    seen(i, here);
    ++i;
  }
}

const TokenFilter::Kept& TokenFilter::kept(int32_t state) {
  const auto found = kept_.find(state);
  if (found != kept_.end()) return found->second;
  if (kept_words_ > kMostWords) {
    kept_.clear();
    kept_words_ = 0;
  }
  Kept made;
  const auto nodes = trie_.nodes();
  walk(machine_.alone(state), 0, static_cast<int32_t>(nodes.size()), 0, [&](int32_t node, SetId set) {
    if (nodes[static_cast<size_t>(node)].token >= 0) made.tokens.push_back(nodes[static_cast<size_t>(node)].token);
    if (machine_.set(set).leaves) made.leaving.push_back(node);
  });
  if (made.tokens.size() > kFewTokens) {
    made.bits.resize(static_cast<size_t>(trie_.tokens() + 63) / 64);
    for (const int32_t token : made.tokens) let_pass(token, made.bits);
    made.tokens = {};
  }
  kept_words_ += made.bits.size() + (made.tokens.size() + made.leaving.size()) / 2 + 8;
  return kept_.emplace(state, std::move(made)).first->second;
}

const TokenBits& TokenFilter::allowed(SetId set) {
  const auto found = allowed_.find(set);
  if (found != allowed_.end()) return found->second;
  if (allowed_words_ > kMostWords) {
    allowed_.clear();
    allowed_words_ = 0;
  }
  TokenBits bits(static_cast<size_t>(trie_.tokens() + 63) / 64);
  const auto nodes = trie_.nodes();
  for (const Machine::Item item : std::vector<Machine::Item>(machine_.set(set).items)) {
    const Kept& known = kept(item.state);
    for (size_t i = 0; i < known.bits.size(); ++i) bits[i] |= known.bits[i];
    for (const int32_t token : known.tokens) let_pass(token, bits);
    if (known.leaving.empty()) continue;
    const SetId outside = machine_.after(item.context);
    for (const int32_t left : known.leaving) {
      const TokenTrie::Node& node = nodes[static_cast<size_t>(left)];
      walk(outside, left + 1, node.skip, node.depth,
           [&](int32_t inner, SetId) { let_pass(nodes[static_cast<size_t>(inner)].token, bits); });
    }
  }
  allowed_words_ += bits.size();
  return allowed_.emplace(set, std::move(bits)).first->second;
}

}  // namespace arkit::grammar
