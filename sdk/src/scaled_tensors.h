#pragma once
// The layer between LibTorch tensors and scaled_kernels.h: checks dtypes, shapes and contiguity, spreads scales over
// groups and runs the kernels on all threads.

#include <functional>

#include <ATen/core/Tensor.h>

#include <arkit/sdk/scaled_scheme.h>

#include "scaled_kernels.h"

namespace arkit::sdk::scaled {

// Everything about one quantized matrix but its results. Keeps tensors alive.
struct Matrix {
  at::Tensor x;  // [out, in], contiguous, f32, bf16 or f16
  ScaleLayout layout;
  ElementRule rule;
  at::Tensor scale, inverse, v;  // f32: [groups] [groups] (or undefined) [groups, group] (or undefined)
  bool narrow_quotient = false;

  [[nodiscard]] Args args() const;
};

// [scales] -> [groups], and the largest or the sum of the groups that share a scale: [groups] -> [scales].
[[nodiscard]] at::Tensor spread(const at::Tensor& scales, const ScaleLayout& layout);
[[nodiscard]] at::Tensor largest(const at::Tensor& groups, const ScaleLayout& layout);
[[nodiscard]] at::Tensor total(const at::Tensor& groups, const ScaleLayout& layout);

// Largest magnitude under every scale, f32 [scales]. `finite` (may be null) becomes false when x holds NaN or infinity.
[[nodiscard]] at::Tensor peaks(const at::Tensor& x, const ScaleLayout& layout, bool* finite);

void fake_quant(const Matrix& matrix, at::Tensor& out);
[[nodiscard]] at::Tensor encode(const Matrix& matrix);  // u8 [out, in]
[[nodiscard]] at::Tensor decode(const at::Tensor& codes, const ScaleLayout& layout, const ElementGrid& grid,
                                const at::Tensor& scale, at::ScalarType dtype);

// Which of `count` candidates for the scale of each group of x makes the sum of importance (y - x)^2 smallest, the
// first of equals: i32 [groups], for groups along rows. `importance`: f32 [in] or [out, in]; undefined = 1.
// `candidates` gives those of the groups [begin, end), f32 [count * (end - begin)], candidate by candidate; called from
// several threads.
using CandidateScales = std::function<ScaledScheme::Scales(int64_t begin, int64_t end)>;
[[nodiscard]] at::Tensor chosen(const at::Tensor& x, const ScaleLayout& layout, const ElementRule& rule,
                                const at::Tensor& importance, int64_t count, const CandidateScales& candidates);

// Adds to grad_v (allocated when undefined; null = not wanted); returns d loss / d scale, f32 [groups]. grad_x (null =
// not wanted) is overwritten, in the dtype of grad_out.
[[nodiscard]] at::Tensor gradient(const Matrix& matrix, const at::Tensor& grad_out, at::Tensor* grad_v,
                                  at::Tensor* grad_x);

// grad_x of the first element of every scale's groups with the largest magnitude += sign(x) * grad_peak.
void add_to_peaks(const at::Tensor& x, const ScaleLayout& layout, const at::Tensor& peak, const at::Tensor& grad_peak,
                  at::Tensor& grad_x);

// docs/spec/rtn.md 3 on importances [in] spread over the weight's rows; undefined stays undefined.
[[nodiscard]] at::Tensor repaired_importance(const at::Tensor& imatrix, const at::Tensor& weight, int64_t group_size,
                                             int bits);

// y = dequantize(quantize(x)), x [rows, in]; differentiable in x and in `limit` (f32 [1], a calibrated maximum;
// undefined = the range of x itself, through which gradients flow too).
using ScaleFunction = std::function<ScaledScheme::Scales(const at::Tensor& peak)>;
[[nodiscard]] at::Tensor fake_quant_activation(const at::Tensor& x, const ScaleLayout& layout, const ElementRule& rule,
                                               const at::Tensor& limit, const ScaleFunction& scales);

}  // namespace arkit::sdk::scaled
