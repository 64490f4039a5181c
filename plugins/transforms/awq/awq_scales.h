#pragma once
// Scales that the search tries (README.md).

#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include <arkit/transform.h>

#include "awq_settings.h"

namespace arkit::awq {

struct Candidate {
  double exponent = 0.0;
  bool duo = false;   // do weights decide too?
  at::Tensor scales;  // f32 [channels] of the place, numbers of bfloat16
};

// Mean |x| of every column, from sums over `count` rows: one number a channel of the place, the mean of the columns
// that read it.
[[nodiscard]] at::Tensor channel_means(const at::Tensor& columns, const ScalePlace& place);

// Mean over all rows of |w| / (largest |w| of its group): how much of its group's range each column uses.
[[nodiscard]] at::Tensor weight_means(std::span<const at::Tensor> weights, int64_t group_size);

// `activations`: mean |x|, `weights`: weight_means, both one a channel. The first candidate is no scaling at all.
[[nodiscard]] std::vector<Candidate> candidates(const at::Tensor& activations, const at::Tensor& weights,
                                                const Settings& settings);

}  // namespace arkit::awq
