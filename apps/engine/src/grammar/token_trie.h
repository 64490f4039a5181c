#pragma once
// All tokens of a vocabulary by their bytes: what a grammar says of a beginning is asked once for all tokens with it.

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace arkit::grammar {

class TokenTrie {
 public:
  // bytes[id]; empty = a token that is no text, which no grammar lets pass.
  explicit TokenTrie(const std::vector<std::string>& bytes);

  struct Node {
    int32_t skip = 0;    // the node behind all that begin with this one
    int32_t token = -1;  // the first token that ends here
    uint16_t depth = 0;  // bytes up to here
    uint8_t byte = 0;
  };
  // In depth-first order; the root, of no bytes, is not among them.
  [[nodiscard]] std::span<const Node> nodes() const { return nodes_; }
  // Another token of the same bytes, or -1.
  [[nodiscard]] int32_t next_same(int32_t token) const { return next_same_[static_cast<size_t>(token)]; }
  [[nodiscard]] int64_t tokens() const { return static_cast<int64_t>(next_same_.size()); }
  [[nodiscard]] std::string_view bytes(int64_t token) const;
  // Whether the byte alone is a token.
  [[nodiscard]] bool has_byte(uint8_t byte) const { return single_[byte]; }
  [[nodiscard]] size_t longest() const { return longest_; }

 private:
  std::vector<Node> nodes_;
  std::vector<int32_t> next_same_;
  std::string text_;  // of all tokens, one behind the other
  std::vector<size_t> begins_;
  std::array<bool, 256> single_{};
  size_t longest_ = 0;
};

}  // namespace arkit::grammar
