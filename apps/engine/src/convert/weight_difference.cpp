#include "convert/weight_difference.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

#include <arkit/error.h>

namespace arkit {
namespace {

constexpr int64_t kComparedElements = int64_t{1} << 21;  // compared at a time: 16 MB an operand

}  // namespace

WeightDifference weight_difference(const at::Tensor& a, const at::Tensor& b) {
  ARKIT_CHECK(a.numel() == b.numel(), "tensors of different sizes have no difference");
  WeightDifference result;
  const at::Tensor x = a.reshape({-1}), y = b.reshape({-1});
  double error = 0.0, norm = 0.0;
  for (int64_t first = 0; first < x.size(0); first += kComparedElements) {
    const int64_t count = std::min(kComparedElements, x.size(0) - first);
    const at::Tensor from = x.narrow(0, first, count).to(at::kDouble);
    at::Tensor delta = y.narrow(0, first, count).to(at::kDouble) - from;
    const int64_t differing = delta.ne(0).sum().item<int64_t>();
    norm += from.nan_to_num(0.0, 0.0, 0.0).square_().sum().item<double>();
    if (differing == 0) continue;
    result.differing += differing;
    const at::Tensor finite = delta.isfinite();
    if (!finite.all().item<bool>()) {
      result.finite = false;
      delta = delta.masked_fill(finite.logical_not(), 0.0);
    }
    result.max = std::max(result.max, delta.abs().max().item<double>());
    error += delta.square_().sum().item<double>();
  }
  if (error > 0.0) result.relative = norm > 0.0 ? std::sqrt(error / norm) : 1.0;
  return result;
}

}  // namespace arkit
