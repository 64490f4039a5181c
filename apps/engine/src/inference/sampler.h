#pragma once
// Picks the next token from a row of logits. Equal seeds give equal tokens on every machine that computes equal logits.

#include <cstdint>
#include <random>
#include <span>
#include <vector>

namespace arkit {

struct SamplingOptions {
  double temperature = 0.0;  // 0 = the largest logit (the first of equal ones)
  double top_p = 1.0;        // keep the fewest tokens whose probabilities reach this; 1 = off
  int64_t top_k = 0;         // keep this many; 0 = off
  uint64_t seed = 42;
};

// Throws ErrorCode::usage for values outside their range.
void check_sampling(const SamplingOptions& options);

class Sampler {
 public:
  explicit Sampler(const SamplingOptions& options) : options_(options), random_(options.seed) {}
  [[nodiscard]] int64_t pick(std::span<const float> logits);

 private:
  SamplingOptions options_;
  std::mt19937_64 random_;
  std::vector<int64_t> order_;  // kept between calls: the vocabulary is large
  std::vector<double> weights_;
};

}  // namespace arkit
