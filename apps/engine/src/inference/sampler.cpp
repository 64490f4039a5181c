#include "inference/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit {

void check_sampling(const SamplingOptions& options) {
  if (!(options.temperature >= 0.0 && options.temperature <= 100.0))
    throw_usage(str("temperature ", options.temperature, " must be from 0 (greedy) to 100"));
  if (!(options.top_p > 0.0 && options.top_p <= 1.0)) throw_usage(str("top_p ", options.top_p, " must be in (0, 1]"));
  if (options.top_k < 0) throw_usage(str("top_k ", options.top_k, " must be 0 (off) or more"));
}

int64_t Sampler::pick(std::span<const float> logits) {
  const auto largest = std::max_element(logits.begin(), logits.end());
  if (options_.temperature == 0.0) return largest - logits.begin();

  const auto weight = [&](int64_t i) {
    const double weighed =
        std::exp((static_cast<double>(logits[static_cast<size_t>(i)]) - *largest) / options_.temperature);
    return std::isnan(weighed) ? 0.0 : weighed;
  };
  order_.resize(logits.size());
  std::iota(order_.begin(), order_.end(), int64_t{0});
  // Ties go to the lower id, so that the order does not depend on the sort.
  const auto before = [&](int64_t a, int64_t b) {
    const float x = logits[static_cast<size_t>(a)], y = logits[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  };
  size_t kept = order_.size();
  if (options_.top_k > 0) kept = std::min(kept, static_cast<size_t>(options_.top_k));
  if (options_.top_p < 1.0)
    std::sort(order_.begin(), order_.end(), before);
  else if (kept < order_.size())
    std::partial_sort(order_.begin(), order_.begin() + static_cast<std::ptrdiff_t>(kept), order_.end(), before);

  weights_.resize(kept);
  for (size_t i = 0; i < kept; ++i) weights_[i] = weight(order_[i]);
  double total = std::accumulate(weights_.begin(), weights_.end(), 0.0);
  if (options_.top_p < 1.0) {
    double reached = 0.0;
    size_t i = 0;
    while (i < kept && reached < options_.top_p * total) reached += weights_[i++];
    kept = std::max<size_t>(i, 1);
    total = reached;
  }
  // 53 random bits as a fraction: std::uniform_real_distribution differs between standard libraries.
  const double target = static_cast<double>(random_() >> 11) * 0x1p-53 * total;
  double sum = 0.0;
  for (size_t i = 0; i < kept; ++i) {
    sum += weights_[i];
    if (target < sum) return order_[i];
  }
  return order_[kept - 1];
}

}  // namespace arkit
