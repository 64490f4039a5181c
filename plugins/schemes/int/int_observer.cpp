#include "int_observer.h"

#include <algorithm>
#include <limits>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <arkit/error.h>
#include <arkit/sdk/group.h>
#include <arkit/sdk/observer.h>
#include <arkit/sdk/ste.h>

#include "int_tensors.h"

namespace arkit::int_scheme {
namespace {

constexpr int64_t kChunk = int64_t{1} << 21;  // weights at a time: temporaries stay small and in the cache

struct Range {
  at::Tensor min, max;
};

struct Scale {
  at::Tensor scale, zero_point;  // levels as signed integers, in the dtype of the scale; undefined for symmetric ones
};

// Rows of the weight at a time, as [rows, groups, group] in the dtype the arithmetic has.
class Chunks {
 public:
  Chunks(const at::Tensor& weight, const TensorQuant& quant)
      : weight_(weight),
        shape_(sdk::group_shape(weight.size(0), weight.size(1), quant.group_size)),
        dtype_(sdk::arithmetic_dtype(quant)),
        rows_(std::max<int64_t>(1, kChunk / std::max<int64_t>(1, weight.size(1)))) {
    ARKIT_CHECK(!shape_.ragged(), "an observer needs whole groups");
  }

  [[nodiscard]] const sdk::GroupShape& shape() const { return shape_; }

  template <typename F>
  void each(const F& f) const {
    for (int64_t first = 0; first < shape_.out; first += rows_) {
      const int64_t count = std::min(rows_, shape_.out - first);
      f(first, count, weight_.narrow(0, first, count).to(dtype_).view({count, shape_.per_row, shape_.group}));
    }
  }

 private:
  const at::Tensor& weight_;
  sdk::GroupShape shape_;
  at::ScalarType dtype_;
  int64_t rows_;
};

double lowest(const TensorQuant& quant) {
  return -static_cast<double>(1 << (quant.bits - 1));
}

Scale scale_of(const Range& range, const TensorQuant& quant) {
  const at::Tensor min = range.min.clamp_max(0), max = range.max.clamp_min(0);
  const auto steps = static_cast<double>((1 << quant.bits) - 1);
  if (quant.sym) return {sdk::without_zeros(at::maximum(min.abs(), max.abs()).div(steps / 2)), {}};
  Scale result{sdk::without_zeros((max - min).div(steps)), {}};
  const double low = lowest(quant);
  result.zero_point = at::rsub(min / result.scale, low).clamp_(low, low + steps).round_();
  return result;
}

// Signed codes in the dtype of x.
at::Tensor codes_of(const at::Tensor& x, const Scale& scale, const TensorQuant& quant) {
  at::Tensor q = x / scale.scale.unsqueeze(-1);
  if (scale.zero_point.defined()) q.add_(scale.zero_point.unsqueeze(-1));
  const double low = lowest(quant);
  return q.clamp_(low, -low - 1).round_();
}

at::Tensor rounded(const at::Tensor& x, const Scale& scale, const TensorQuant& quant) {
  at::Tensor y = codes_of(x, scale, quant);
  if (scale.zero_point.defined()) y.sub_(scale.zero_point.unsqueeze(-1));
  return y.mul_(scale.scale.unsqueeze(-1));
}

at::Tensor loss_of(const at::Tensor& x, const Scale& scale, const TensorQuant& quant) {
  return rounded(x, scale, quant).sub_(x).abs_().pow_(sdk::kMseNorm).sum(-1);
}

Range range_of(const Chunks& chunks, at::ScalarType dtype) {
  const sdk::GroupShape& shape = chunks.shape();
  Range range{at::empty({shape.out, shape.per_row}, dtype), at::empty({shape.out, shape.per_row}, dtype)};
  chunks.each([&](int64_t first, int64_t count, const at::Tensor& x) {
    range.min.narrow(0, first, count).copy_(x.amin(-1));
    range.max.narrow(0, first, count).copy_(x.amax(-1));
  });
  return range;
}

// Shrinks every range to where the loss of its group is smallest; ends when no group of the whole weight has gained for
// kPatience steps.
Range shrunk(const Chunks& chunks, const Range& range, const TensorQuant& quant) {
  Range best{range.min.clone(), range.max.clone()};
  at::Tensor least = at::full_like(range.min, std::numeric_limits<double>::infinity());
  for (int step = 0, idle = 0; step < sdk::kMseSteps && idle < sdk::kMsePatience; ++step) {
    const double part = 1.0 - static_cast<double>(step) / sdk::kMseGrid;
    bool gained = false;
    chunks.each([&](int64_t first, int64_t count, const at::Tensor& x) {
      const Range tried{range.min.narrow(0, first, count) * part, range.max.narrow(0, first, count) * part};
      const at::Tensor loss = loss_of(x, scale_of(tried, quant), quant);
      at::Tensor so_far = least.narrow(0, first, count);
      const at::Tensor better = loss < so_far;
      if (!better.any().item<bool>()) return;
      gained = true;
      at::Tensor best_min = best.min.narrow(0, first, count), best_max = best.max.narrow(0, first, count);
      so_far.copy_(at::where(better, loss, so_far));
      best_min.copy_(at::where(better, tried.min, best_min));
      best_max.copy_(at::where(better, tried.max, best_max));
    });
    idle = gained ? 0 : idle + 1;
  }
  return best;
}

}  // namespace

QuantizedWeight quantize_observed(const at::Tensor& weight, const TensorQuant& quant) {
  const at::NoGradGuard no_grad;
  const Chunks chunks(weight, quant);
  Range range = range_of(chunks, sdk::arithmetic_dtype(quant));
  if (!range.min.isfinite().all().item<bool>() || !range.max.isfinite().all().item<bool>()) refuse_not_finite();
  if (quant.observer == sdk::kMse) range = shrunk(chunks, range, quant);
  const Scale scale = scale_of(range, quant);
  QuantizedWeight result;
  result.scale = scale.scale;
  result.codes = at::empty(weight.sizes(), at::kByte);
  const double offset = -lowest(quant);
  if (scale.zero_point.defined()) result.zero_point = scale.zero_point.to(at::kFloat).add_(offset);
  chunks.each([&](int64_t first, int64_t count, const at::Tensor& x) {
    Scale part{scale.scale.narrow(0, first, count), {}};
    if (scale.zero_point.defined()) part.zero_point = scale.zero_point.narrow(0, first, count);
    result.codes.narrow(0, first, count).copy_(codes_of(x, part, quant).add_(offset).view({count, weight.size(1)}));
  });
  return result;
}

at::Tensor fake_quant_observed_activation(const at::Tensor& x, const TensorQuant& quant, const at::Tensor& static_max) {
  const at::Tensor given = x.detach();
  const bool whole = quant.group_size == 0 || (!quant.dynamic && static_max.defined());
  const at::Tensor groups = whole ? given.reshape({1, -1}) : sdk::to_groups(given, quant.group_size);
  Range range{groups.amin(-1), groups.amax(-1)};
  if (!quant.dynamic && static_max.defined()) {
    range.max = static_max.detach().to(x.scalar_type()).reshape({1});
    range.min = -range.max;
  }
  const at::Tensor y = rounded(groups, scale_of(range, quant), quant);
  return sdk::ste(x, whole ? y.view(x.sizes()) : sdk::from_groups(y, x.sizes()));
}

}  // namespace arkit::int_scheme
