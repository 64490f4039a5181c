#include "inference/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <arkit/error.h>
#include <arkit/str.h>

#include "inference/largest.h"

namespace arkit {
namespace {

void check_between(const char* name, double value, double least, double most) {
  if (!(value >= least && value <= most)) throw_usage(str(name, " ", value, " must be from ", least, " to ", most));
}

}  // namespace

void check_sampling(const SamplingOptions& options) {
  if (!(options.temperature >= 0.0 && options.temperature <= 100.0))
    throw_usage(str("temperature ", options.temperature, " must be from 0 (greedy) to 100"));
  if (!(options.top_p > 0.0 && options.top_p <= 1.0)) throw_usage(str("top_p ", options.top_p, " must be in (0, 1]"));
  if (options.top_k < 0) throw_usage(str("top_k ", options.top_k, " must be 0 (off) or more"));
  check_between("min_p", options.min_p, 0.0, 1.0);
  if (!(options.repetition_penalty > 0.0 && options.repetition_penalty <= 100.0))
    throw_usage(str("repetition_penalty ", options.repetition_penalty, " must be above 0 and at most 100; 1 = off"));
  check_between("frequency_penalty", options.frequency_penalty, -2.0, 2.0);
  check_between("presence_penalty", options.presence_penalty, -2.0, 2.0);
  for (const auto& [token, bias] : options.logit_bias)
    check_between(str("logit_bias of token ", token, ":").c_str(), bias, -100.0, 100.0);
}

Sampler::Sampler(const SamplingOptions& options)
    : options_(options),
      penalizes_(options.repetition_penalty != 1.0 || options.frequency_penalty != 0.0 ||
                 options.presence_penalty != 0.0),
      random_(static_cast<uint64_t>(options.seed)) {}

// In float, as transformers computes it: greedy texts are compared token by token.
std::span<const float> Sampler::adjusted(std::span<const float> logits, const TokenHistory& history) {
  if (!penalizes_ && options_.logit_bias.empty()) return logits;
  adjusted_.assign(logits.begin(), logits.end());
  for (const auto& [token, bias] : options_.logit_bias)
    adjusted_.at(static_cast<size_t>(token)) += static_cast<float>(bias);
  if (!penalizes_) return adjusted_;
  const auto repetition = static_cast<float>(options_.repetition_penalty);
  for (const auto& [token, made] : history.made()) {
    float& logit = adjusted_.at(static_cast<size_t>(token));
    logit = logit < 0.0F ? logit * repetition : logit / repetition;
    if (made > 0)
      logit -= static_cast<float>(options_.frequency_penalty * static_cast<double>(made) + options_.presence_penalty);
  }
  return adjusted_;
}

// One of the first `kept` of order_ by their weights, which add up to `total`.
int64_t Sampler::draw(size_t kept, double total) {
  // 53 random bits as a fraction: std::uniform_real_distribution differs between standard libraries.
  const double target = static_cast<double>(random_() >> 11) * 0x1p-53 * total;
  double sum = 0.0;
  for (size_t i = 0; i < kept; ++i) {
    sum += weights_[i];
    if (target < sum) return order_[i];
  }
  return order_[kept - 1];
}

int64_t Sampler::pick(std::span<const float> raw, const TokenHistory& history) {
  const std::span<const float> logits = adjusted(raw, history);
  const auto largest = logits.begin() + static_cast<std::ptrdiff_t>(first_largest(logits));
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
  if (options_.min_p > 0.0) {  // the largest weight is 1
    size_t likely = 0;
    total = 0.0;
    for (size_t i = 0; i < kept; ++i) {
      if (weights_[i] < options_.min_p) continue;
      total += weights_[i];
      weights_[likely] = weights_[i];
      order_[likely++] = order_[i];
    }
    kept = std::max<size_t>(likely, 1);
  }
  return draw(kept, total);
}

}  // namespace arkit
