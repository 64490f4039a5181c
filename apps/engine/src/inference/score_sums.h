#pragma once
// What the scores of single tokens come to: likelihoods, and how far a model's distribution is from a reference's.

#include <cstdint>
#include <optional>
#include <vector>

#include "inference/row_scores.h"

namespace arkit {

// Distances of one scored token each, over all of them. KL(reference || model) in nats; quantiles are interpolated
// between neighbours, as numpy.percentile does. The errors are those of independent tokens.
struct Divergence {
  double mean_kl = 0, kl_stderr = 0;
  double median_kl = 0, p99_kl = 0, p99_9_kl = 0, max_kl = 0;
  double top1_agreement = 0, top1_stderr = 0;  // share of tokens whose most likely successor is the same
};

struct WindowScore {
  double nll = 0;      // mean, nats
  int64_t tokens = 0;  // scored
};

struct EvalResult {
  WindowScore model;
  std::optional<WindowScore> reference;
  std::optional<Divergence> divergence;
};

// Of `kl`, one a token and at least one; sorts it. `agreeing` tokens have the same likeliest successor.
[[nodiscard]] Divergence divergence_of(std::vector<double>& kl, int64_t agreeing);

class ScoreSums {
 public:
  void add(const ComparedScores& scores);
  // Of what was added, with a reference or without. Throws ErrorCode::verification where logits were not finite.
  [[nodiscard]] EvalResult result();

 private:
  WindowScore model_, reference_;  // nll: sums
  std::vector<double> kl_;         // one a scored token
  int64_t agree_ = 0;
};

}  // namespace arkit
