#pragma once
// Picks the next token from a row of logits. Equal seeds give equal tokens on every machine that computes equal logits.

#include <cstdint>
#include <memory>
#include <random>
#include <span>
#include <unordered_map>
#include <vector>

#include <arkit/engine/sampling.h>

namespace arkit {

// Throws ErrorCode::usage for values outside their range. Token ids of logit_bias are up to who knows the vocabulary.
void check_sampling(const SamplingOptions& options);

// What penalties ask of a text.
class TokenHistory {
 public:
  TokenHistory() = default;
  explicit TokenHistory(std::span<const int64_t> prompt) {
    for (const int64_t token : prompt) made_.try_emplace(token, 0);
  }
  void add(int64_t token) { ++made_[token]; }
  // Of each token of the text, how often the output has it: 0 = only the prompt does.
  [[nodiscard]] const std::unordered_map<int64_t, int64_t>& made() const { return made_; }

 private:
  std::unordered_map<int64_t, int64_t> made_;
};

class Sampler {
 public:
  explicit Sampler(const SamplingOptions& options);
  // Every token of the history and of logit_bias has a logit.
  [[nodiscard]] int64_t pick(std::span<const float> logits, const TokenHistory& history = {});
  // Each text follows it in a way of its own (constraint.h); pick() does not look at it.
  [[nodiscard]] const std::shared_ptr<const OutputGrammar>& grammar() const { return options_.grammar; }

 private:
  [[nodiscard]] std::span<const float> adjusted(std::span<const float> logits, const TokenHistory& history);
  [[nodiscard]] int64_t draw(size_t kept, double total);

  SamplingOptions options_;
  bool penalizes_;
  std::mt19937_64 random_;
  std::vector<float> adjusted_;  // these are kept between calls: the vocabulary is large
  std::vector<int64_t> order_;
  std::vector<double> weights_;
};

}  // namespace arkit
