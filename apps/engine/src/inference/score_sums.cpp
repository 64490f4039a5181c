#include "inference/score_sums.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

#include <arkit/error.h>

namespace arkit {
namespace {

double quantile(const std::vector<double>& sorted, double share) {
  const double place = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

WindowScore finished(WindowScore score) {
  score.nll /= static_cast<double>(score.tokens);
  if (!std::isfinite(score.nll))
    throw Error(ErrorCode::verification, "the model's logits are not finite; its weights or scales are damaged");
  return score;
}

}  // namespace

Divergence divergence_of(std::vector<double>& kl, int64_t agreeing) {
  Divergence out;
  const auto count = static_cast<double>(kl.size());
  for (const double one : kl) out.mean_kl += one / count;
  double squares = 0.0;
  for (const double one : kl) squares += (one - out.mean_kl) * (one - out.mean_kl);
  out.top1_agreement = static_cast<double>(agreeing) / count;
  if (kl.size() > 1) {
    out.kl_stderr = std::sqrt(squares / (count - 1.0) / count);
    out.top1_stderr = std::sqrt(out.top1_agreement * (1.0 - out.top1_agreement) / (count - 1.0));
  }
  std::sort(kl.begin(), kl.end());
  out.median_kl = quantile(kl, 0.5);
  out.p99_kl = quantile(kl, 0.99);
  out.p99_9_kl = quantile(kl, 0.999);
  out.max_kl = kl.back();
  return out;
}

void ScoreSums::add(const ComparedScores& scores) {
  model_.nll -= scores.model.log_likelihood.sum().item<double>();
  model_.tokens += scores.model.log_likelihood.numel();
  if (!scores.kl.defined()) return;
  reference_.nll -= scores.reference.log_likelihood.sum().item<double>();
  reference_.tokens += scores.reference.log_likelihood.numel();
  const at::Tensor kl = scores.kl.contiguous();
  kl_.insert(kl_.end(), kl.const_data_ptr<double>(), kl.const_data_ptr<double>() + kl.numel());
  agree_ += scores.reference.likeliest.eq(scores.model.likeliest).sum().item<int64_t>();
}

EvalResult ScoreSums::result() {
  EvalResult result{.model = finished(model_), .reference = {}, .divergence = {}};
  if (reference_.tokens == 0) return result;
  result.reference = finished(reference_);  // before sorting: numbers that are not finite have no order
  result.divergence = divergence_of(kl_, agree_);
  return result;
}

}  // namespace arkit
