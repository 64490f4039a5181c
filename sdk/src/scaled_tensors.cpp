#include "scaled_tensors.h"

#include <algorithm>
#include <atomic>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <arkit/error.h>
#include <arkit/sdk/kernel_tensors.h>
#include <arkit/sdk/ste.h>
#include <arkit/str.h>

namespace arkit::sdk::scaled {
namespace {

constexpr int64_t kCandidates = 32768;  // scales computed at a time in a search: temporaries stay in the cache

Groups groups_of(const ScaleLayout& layout) {
  return {layout.groups.in, layout.groups.group, layout.groups.per_row};
}

void check_matrix(const at::Tensor& x, const ScaleLayout& layout, const char* what) {
  ARKIT_CHECK(x.is_contiguous() && x.is_cpu() && x.numel() == layout.groups.out * layout.groups.in,
              str(what, " must be contiguous, on the CPU, with ", layout.groups.out * layout.groups.in,
                  " elements, it has ", x.numel()));
}

// f(begin, end) over all groups on all threads; a task takes about 32k elements at least.
template <typename F>
void for_groups(const ScaleLayout& layout, const F& f) {
  const int64_t grain = std::max<int64_t>(1, 32768 / std::max<int64_t>(1, layout.groups.group));
  at::parallel_for(0, layout.groups.total(), grain, f);
}

// [groups] as [bands, rows, per_row], rows beyond the last padded with 0.
at::Tensor in_bands(const at::Tensor& groups, const ScaleLayout& layout) {
  const int64_t missing = (layout.bands() * layout.rows - layout.groups.out) * layout.groups.per_row;
  const at::Tensor whole = missing == 0 ? groups : at::constant_pad_nd(groups, {0, missing}, 0);
  return whole.reshape({layout.bands(), layout.rows, layout.groups.per_row});
}

template <typename X, typename G>
void add_to_peaks_typed(const X* x, G* grad, const ScaleLayout& layout, const float* peak, const float* grad_peak) {
  const int64_t in = layout.groups.in, group = layout.groups.group, per_row = layout.groups.per_row;
  at::parallel_for(0, layout.scales(), 64, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i / per_row * layout.rows, last = std::min(first + layout.rows, layout.groups.out);
      const int64_t start = i % per_row * group, stop = std::min(start + group, in);
      bool found = false;
      for (int64_t row = first; row < last && !found; ++row)
        for (int64_t j = row * in + start; j < row * in + stop && !found; ++j) {
          const auto value = static_cast<float>(x[j]);
          found = value == peak[i] || value == -peak[i];
          if (found && value != 0)
            grad[j] = static_cast<G>(static_cast<float>(grad[j]) + (value < 0 ? -grad_peak[i] : grad_peak[i]));
        }
    }
  });
}

}  // namespace

Args Matrix::args() const {
  check_matrix(x, layout, "the matrix");
  const int64_t n = layout.groups.total();
  return {.grid = rule.grid,
          .groups = groups_of(layout),
          .x = x.const_data_ptr(),
          .dtype = dtype_of(x, "the matrix"),
          .scale = f32_data(scale, n, "scale"),
          .inverse = f32_data(inverse, n, "inverse"),
          .v = f32_data(v, n * layout.groups.group, "v"),
          .narrow_quotient = narrow_quotient,
          .follow_grid = rule.follow_grid};
}

at::Tensor spread(const at::Tensor& scales, const ScaleLayout& layout) {
  if (!scales.defined() || layout.rows == 1) return scales;
  const int64_t per_row = layout.groups.per_row;
  return scales.reshape({layout.bands(), 1, per_row})
      .expand({layout.bands(), layout.rows, per_row})
      .reshape({-1})
      .narrow(0, 0, layout.groups.total())
      .contiguous();
}

at::Tensor largest(const at::Tensor& groups, const ScaleLayout& layout) {
  return layout.rows == 1 ? groups : in_bands(groups, layout).amax(1).reshape({-1});
}

// In the order of the rows: LibTorch's sum depends on the number of threads.
at::Tensor total(const at::Tensor& groups, const ScaleLayout& layout) {
  if (layout.rows == 1) return groups;
  const at::Tensor bands = in_bands(groups, layout).contiguous();
  const int64_t per_row = layout.groups.per_row;
  std::vector<double> sums(static_cast<size_t>(layout.bands() * per_row));
  const auto* from = bands.const_data_ptr<float>();
  for (int64_t band = 0; band < layout.bands(); ++band)
    for (int64_t row = 0; row < layout.rows; ++row)
      for (int64_t k = 0; k < per_row; ++k) sums[static_cast<size_t>(band * per_row + k)] += *from++;
  return at::tensor(at::ArrayRef<double>(sums), at::kDouble).to(at::kFloat);
}

at::Tensor peaks(const at::Tensor& x, const ScaleLayout& layout, bool* finite) {
  check_matrix(x, layout, "the matrix");
  const at::Tensor groups = at::empty({layout.groups.total()}, at::kFloat);
  auto* out = groups.mutable_data_ptr<float>();
  const Dtype dtype = dtype_of(x, "the matrix");
  const void* data = x.const_data_ptr();
  std::atomic<bool> all_finite{true};
  for_groups(layout, [&](int64_t begin, int64_t end) {
    if (!kernels().peaks(data, dtype, groups_of(layout), begin, end, out)) all_finite = false;
  });
  if (finite != nullptr) *finite = all_finite;
  return largest(groups, layout);
}

void fake_quant(const Matrix& matrix, at::Tensor& out) {
  check_matrix(out, matrix.layout, "the result of fake quantization");
  const Args args = matrix.args();
  const Dtype dtype = dtype_of(out, "the result of fake quantization");
  void* const data = out.mutable_data_ptr();
  for_groups(matrix.layout, [&](int64_t begin, int64_t end) { kernels().fake_quant(args, data, dtype, begin, end); });
}

at::Tensor encode(const Matrix& matrix) {
  const Args args = matrix.args();
  at::Tensor codes = at::empty({matrix.layout.groups.out, matrix.layout.groups.in}, at::kByte);
  auto* data = codes.mutable_data_ptr<uint8_t>();
  for_groups(matrix.layout,
             [&](int64_t begin, int64_t end) { kernels().encode(args, matrix.rule.signed_zero, data, begin, end); });
  return codes;
}

at::Tensor chosen(const at::Tensor& x, const ScaleLayout& layout, const ElementRule& rule, const at::Tensor& importance,
                  int64_t count, const CandidateScales& candidates) {
  check_matrix(x, layout, "the matrix");
  const int64_t in = layout.groups.in;
  const bool whole = importance.defined() && importance.numel() != in;
  const float* weights = f32_data(importance, whole ? layout.groups.out * in : in, "importance");
  at::Tensor best = at::empty({layout.groups.total()}, at::kInt);
  auto* data = best.mutable_data_ptr<int32_t>();
  const Args args{.grid = rule.grid, .groups = groups_of(layout), .x = x.const_data_ptr(), .dtype = dtype_of(x, "x")};
  const int64_t step = std::max<int64_t>(1, kCandidates / count);
  at::parallel_for(0, (layout.groups.total() + step - 1) / step, 1, [&](int64_t first, int64_t last) {
    const at::NoGradGuard no_grad;
    for (int64_t chunk = first; chunk < last; ++chunk) {
      const int64_t begin = chunk * step, end = std::min(begin + step, layout.groups.total());
      const ScaledScheme::Scales scales = candidates(begin, end);
      Args a = args;
      a.scale = f32_data(scales.scale, count * (end - begin), "scale");
      a.inverse = f32_data(scales.inverse, count * (end - begin), "inverse");
      kernels().choose(a, weights, whole ? in : 0, count, data + begin, begin, end);
    }
  });
  return best;
}

at::Tensor decode(const at::Tensor& codes, const ScaleLayout& layout, const ElementGrid& grid, const at::Tensor& scale,
                  at::ScalarType dtype) {
  check_matrix(codes, layout, "codes");
  at::Tensor out = at::empty({layout.groups.out, layout.groups.in}, dtype);
  DecodeArgs args{.grid = grid, .groups = groups_of(layout)};
  args.codes = static_cast<const uint8_t*>(codes.const_data_ptr());
  args.scale = f32_data(scale, layout.groups.total(), "scale");
  args.out = out.mutable_data_ptr();
  args.out_dtype = dtype_of(out, "a dequantized weight");
  for_groups(layout, [&](int64_t begin, int64_t end) { kernels().decode(args, begin, end); });
  return out;
}

at::Tensor gradient(const Matrix& matrix, const at::Tensor& grad_out, at::Tensor* grad_v, at::Tensor* grad_x) {
  const Args args = matrix.args();
  const at::Tensor grad = grad_out.contiguous();
  check_matrix(grad, matrix.layout, "the gradient");
  const at::Tensor grad_scale = at::empty({matrix.layout.groups.total()}, at::kFloat);
  GradientArgs b{.grad_out = grad.const_data_ptr(), .grad_dtype = dtype_of(grad, "the gradient")};
  b.grad_scale = grad_scale.mutable_data_ptr<float>();
  if (grad_v != nullptr) {
    const int64_t n = matrix.layout.groups.total(), group = matrix.layout.groups.group;
    b.accumulate_v = grad_v->defined();
    if (!b.accumulate_v) *grad_v = at::empty({n, group}, at::kFloat);
    (void)f32_data(*grad_v, n * group, "the gradient of v");
    b.grad_v = grad_v->mutable_data_ptr<float>();
  }
  if (grad_x != nullptr) {
    *grad_x = at::empty_like(grad);
    b.grad_x = grad_x->mutable_data_ptr();
  }
  for_groups(matrix.layout, [&](int64_t begin, int64_t end) { kernels().gradient(args, b, begin, end); });
  return grad_scale;
}

void add_to_peaks(const at::Tensor& x, const ScaleLayout& layout, const at::Tensor& peak, const at::Tensor& grad_peak,
                  at::Tensor& grad_x) {
  const float* peaks = f32_data(peak, layout.scales(), "peak");
  const float* grads = f32_data(grad_peak, layout.scales(), "the gradient of peak");
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, x.scalar_type(), "add_to_peaks", [&] {
    using X = scalar_t;
    AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, grad_x.scalar_type(), "add_to_peaks", [&] {
      add_to_peaks_typed(x.const_data_ptr<X>(), grad_x.mutable_data_ptr<scalar_t>(), layout, peaks, grads);
    });
  });
}

at::Tensor repaired_importance(const at::Tensor& imatrix, const at::Tensor& weight, int64_t group_size, int bits) {
  if (!imatrix.defined() || imatrix.min().item<float>() != 0) return imatrix;
  const at::Tensor importance = to_groups(imatrix.to(at::kFloat).expand(weight.sizes()).contiguous(), group_size, 1e-5);
  const at::Tensor w = to_groups(weight.to(at::kFloat), group_size);
  const at::Tensor is_zero = importance <= 1e-30;
  const at::Tensor zeros = is_zero.sum(-1, true);
  const int64_t size = importance.size(-1);
  at::Tensor by_weight = w.abs();
  if (bits > 3) by_weight = by_weight + (w.square().sum(-1, true) / 32).sqrt();
  const at::Tensor mean = importance.sum(-1, true) / (size - zeros).clamp_min(1);
  const at::Tensor filled = at::where(is_zero, mean, importance);
  return from_groups(at::where(zeros > size / 2, by_weight, filled), weight.sizes()).contiguous();
}

}  // namespace arkit::sdk::scaled
