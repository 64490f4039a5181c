#include "awq_scales.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <arkit/sdk/ste.h>

#include "awq_kernels.h"

namespace arkit::awq {
namespace {

constexpr double kSmallest = 1e-4;  // of a scale before scales are centred, and beside a weight's mean
constexpr double kNoRange = 1e-6;   // beside the largest weight of a group

at::Tensor centred(at::Tensor scales) {
  scales = scales.clamp_min(kSmallest);
  scales = scales.div(scales.max().mul(scales.min()).sqrt());
  scales = at::where(scales.isfinite(), scales, at::ones_like(scales));
  return scales.to(at::kBFloat16).to(at::kFloat);
}

Candidate candidate(const at::Tensor& activations, const at::Tensor& weights, double exponent, bool duo) {
  at::Tensor scales = activations.pow(exponent);
  if (duo) scales = scales.div(weights.pow(1.0 - exponent).add(kSmallest));
  return {exponent, duo, centred(std::move(scales))};
}

}  // namespace

at::Tensor channel_means(const at::Tensor& columns, const ScalePlace& place) {
  if (place.repeats == 1) return columns;
  const at::Tensor heads = columns.view({place.heads, place.repeats, place.channels / place.heads});
  at::Tensor sum = heads.select(1, 0).clone();
  for (int64_t i = 1; i < place.repeats; ++i) sum += heads.select(1, i);  // in this order
  return sum.div(static_cast<double>(place.repeats)).reshape({-1});
}

at::Tensor weight_means(std::span<const at::Tensor> weights, int64_t group_size) {
  const int64_t in = weights.front().size(1), group = group_size > 0 ? group_size : -1;
  at::Tensor sums = at::zeros({in}, at::kDouble);
  int64_t rows = 0;
  for (const at::Tensor& weight : weights) {
    const at::Tensor groups = sdk::to_groups(weight.to(at::kFloat), group).abs();
    const at::Tensor share = groups.div(groups.amax(-1, true).add(kNoRange));
    const at::Tensor used = sdk::from_groups(share, weight.sizes()).contiguous();
    for (int64_t row = 0; row < used.size(0); row += 64) {
      const int64_t count = std::min<int64_t>(64, used.size(0) - row);
      at::Tensor part = at::zeros({in}, at::kFloat);
      add_magnitudes(used.const_data_ptr<float>() + row * in, count, in, part.mutable_data_ptr<float>());
      sums += part;
    }
    rows += used.size(0);
  }
  return sums.div(static_cast<double>(rows)).to(at::kFloat);
}

std::vector<Candidate> candidates(const at::Tensor& activations, const at::Tensor& weights, const Settings& settings) {
  std::vector<Candidate> all{{.exponent = 0.0, .duo = false, .scales = at::ones_like(activations)}};
  // As many as n_grid in all; 0 without weights is the one above.
  const int64_t each = settings.duo == Duo::both ? std::max<int64_t>(settings.n_grid / 2, 2)
                       : settings.duo == Duo::on ? settings.n_grid - 1
                                                 : settings.n_grid;
  for (int64_t i = 0; i < each; ++i) {
    const double exponent = static_cast<double>(i) / static_cast<double>(each - 1);
    if (settings.duo != Duo::on && i > 0) all.push_back(candidate(activations, weights, exponent, false));
    if (settings.duo != Duo::off) all.push_back(candidate(activations, weights, exponent, true));
  }
  return all;
}

}  // namespace arkit::awq
