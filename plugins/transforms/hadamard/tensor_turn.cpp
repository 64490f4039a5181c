#include "tensor_turn.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::rotation {
namespace {

constexpr int64_t kChunk = int64_t{1} << 22;  // elements in float64 at a time: 32 MiB

// W diag(gain) R, row by row.
void turn_columns(const TensorTurn& turn, const at::Tensor& weight, const at::Tensor& gain, at::Tensor& out) {
  const int64_t rows = weight.size(0), step = std::max<int64_t>(1, kChunk / std::max<int64_t>(1, weight.size(1)));
  for (int64_t first = 0; first < rows; first += step) {
    const int64_t count = std::min(step, rows - first);
    at::Tensor part = weight.narrow(0, first, count).to(at::kDouble);
    if (gain.defined()) part = part * gain;
    if (turn.input) part = turn.input->apply(part);
    out.narrow(0, first, count).copy_(part);
  }
}

// R^T W, column by column: its transpose is W^T R.
void turn_rows(const TensorTurn& turn, const at::Tensor& weight, at::Tensor& out) {
  const int64_t columns = weight.size(1), step = std::max<int64_t>(1, kChunk / std::max<int64_t>(1, weight.size(0)));
  for (int64_t first = 0; first < columns; first += step) {
    const int64_t count = std::min(step, columns - first);
    const at::Tensor part = weight.narrow(1, first, count).t().to(at::kDouble).contiguous();
    out.narrow(1, first, count).copy_(turn.output->apply(part).t());
  }
}

at::Tensor turned_matrix(const TensorTurn& turn, const at::Tensor& weight, const at::Tensor& gain) {
  at::Tensor out = at::empty(weight.sizes(), weight.options());
  const bool columns = turn.input != nullptr || gain.defined();
  if (!turn.output) {
    turn_columns(turn, weight, gain, out);
    return out;
  }
  if (!columns) {
    turn_rows(turn, weight, out);
    return out;
  }
  at::Tensor between = at::empty(weight.sizes(), at::kDouble);
  turn_columns(turn, weight, gain, between);
  turn_rows(turn, between, out);
  return out;
}

}  // namespace

at::Tensor turned(const TensorTurn& turn, const WeightSource& original) {
  const c10::NoGradGuard no_grad;
  const at::Tensor weight = original.load(turn.origin);
  if (turn.ones) return at::ones_like(weight);
  if (weight.dim() == 1) {
    ARKIT_CHECK(turn.output != nullptr, str("bias '", turn.origin, "' is turned by nothing"));
    return turn.output->apply(weight.to(at::kDouble)).to(weight.scalar_type());
  }
  ARKIT_CHECK(weight.dim() == 2, str("tensor '", turn.origin, "' is no matrix"));
  at::Tensor gain;
  if (!turn.gain.empty()) gain = original.load(turn.gain).to(at::kDouble);
  return turned_matrix(turn, weight, gain);
}

}  // namespace arkit::rotation
