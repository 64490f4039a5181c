#include "transform/channel_fold.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <arkit/sdk/channel_scales.h>

namespace arkit {
namespace {

// A weight of a norm that rounding moves further than this is no longer a quotient to rely on (subnormal numbers).
constexpr double kLargestCorrection = 1.0 / 64.0;

}  // namespace

FoldedNorm fold_norm(const at::Tensor& weight, const at::Tensor& scales, at::ScalarType stored) {
  const c10::NoGradGuard no_grad;
  const at::Tensor original = weight.to(at::kFloat);
  const at::Tensor folded = original.div(scales).to(stored);
  const at::Tensor quotient = original.div(folded.to(at::kFloat));
  const at::Tensor near = quotient.div(scales).sub(1.0).abs().le(kLargestCorrection);  // false for 0 / 0
  return {folded, at::where(near, quotient, scales)};
}

at::Tensor fold_rows(const at::Tensor& tensor, const at::Tensor& scales) {
  const c10::NoGradGuard no_grad;
  const at::Tensor divisor = tensor.dim() == 2 ? scales.unsqueeze(1) : scales;
  return tensor.to(at::kFloat).div(divisor).to(tensor.scalar_type());
}

at::Tensor fold_columns(const at::Tensor& weight, const ScalePlace& place, const at::Tensor& scales) {
  const c10::NoGradGuard no_grad;
  return weight.to(at::kFloat).mul(sdk::column_scales(place, scales)).to(weight.scalar_type());
}

at::Tensor recorded_scales(const at::Tensor& scales) {
  return scales.to(at::kBFloat16).to(at::kFloat);
}

}  // namespace arkit
