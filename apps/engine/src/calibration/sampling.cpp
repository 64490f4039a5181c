#include "calibration/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace arkit::calibration {
namespace {

uint64_t splitmix(uint64_t x) {
  x += 0x9E3779B97F4A7C15ULL;
  x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ x >> 27) * 0x94D049BB133111EBULL;
  return x ^ x >> 31;
}

struct Candidate {
  float logit;
  int64_t index;
};

bool better(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.index < b.index;
}

// The k largest, best first. One pass: candidates above the running threshold are gathered and thinned out when they
// are twice too many.
std::vector<Candidate> largest(std::span<const float> logits, size_t k) {
  std::vector<Candidate> kept;
  kept.reserve(2 * k);
  float threshold = -std::numeric_limits<float>::infinity();
  const auto middle = [&] { return kept.begin() + static_cast<std::ptrdiff_t>(k); };
  for (size_t i = 0; i < logits.size(); ++i) {
    if (!(logits[i] > threshold)) continue;
    kept.push_back({logits[i], static_cast<int64_t>(i)});
    if (kept.size() < 2 * k) continue;
    std::nth_element(kept.begin(), middle() - 1, kept.end(), better);
    kept.resize(k);
    threshold = kept.back().logit;  // an equal logit later has a larger index and loses
  }
  if (kept.size() > k) {
    std::nth_element(kept.begin(), middle() - 1, kept.end(), better);
    kept.resize(k);
  }
  std::sort(kept.begin(), kept.end(), better);
  return kept;
}

}  // namespace

double uniform_at(uint64_t seed, uint64_t stream, uint64_t counter) {
  const uint64_t bits = splitmix(splitmix(splitmix(seed) ^ stream) ^ counter);
  return static_cast<double>(bits >> 11) * 0x1.0p-53;
}

int64_t sample_token(std::span<const float> logits, const SamplingRule& rule, double uniform) {
  const size_t k = rule.top_k > 0 ? std::min(static_cast<size_t>(rule.top_k), logits.size()) : logits.size();
  if (k == 0) return -1;
  const std::vector<Candidate> candidates = largest(logits, k);
  if (candidates.empty()) return -1;
  std::vector<double> weights;
  double total = 0.0;
  for (const Candidate& candidate : candidates) {
    const double difference = static_cast<double>(candidate.logit) - static_cast<double>(candidates.front().logit);
    weights.push_back(std::exp(difference / rule.temperature));
    total += weights.back();
  }
  double allowed = 0.0;
  size_t count = 0;
  while (count < weights.size() && allowed < rule.top_p * total) allowed += weights[count++];
  double target = uniform * allowed;
  for (size_t i = 0; i < count; ++i) {
    target -= weights[i];
    if (target < 0.0) return candidates[i].index;
  }
  return candidates[count - 1].index;
}

}  // namespace arkit::calibration
