#include "rounding/strip_rounding.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <arkit/error.h>
#include <arkit/str.h>

#include "rounding/usable_numbers.h"
#include "util/finite.h"
#include "util/naming_layer.h"

namespace arkit {
namespace {

constexpr int64_t kStripElements = int64_t{1} << 17;  // as float32 below what the heap returns to the system at once

constexpr size_t kLargeBytes = size_t{16} << 20;  // a tensor whose pages are not kept until all of it is rounded

// What a weight has a row of for each row, or block of rows, of its codes.
constexpr at::Tensor QuantizedWeight::*kScales[] = {&QuantizedWeight::scale,       &QuantizedWeight::zero_point,
                                                    &QuantizedWeight::offset,      &QuantizedWeight::group_min,
                                                    &QuantizedWeight::super_scale, &QuantizedWeight::super_min};

// Do codes and scales of a row depend on nothing but the rows it shares a scale with? The scale of fused layers is
// given from outside.
bool rows_are_independent(const LayerPlan& plan, const Scheme& scheme, RtnMode mode) {
  const SchemeTraits traits = scheme.traits(plan.quant);
  return traits.independent_rows && !(mode == RtnMode::searched && traits.searches);
}

rounding::ErrorSums fast_sums_of(const at::Tensor& weight, const at::Tensor& dequantized) {
  const int64_t rows = weight.size(0), width = weight.size(1);
  if (weight.scalar_type() == at::kBFloat16 && dequantized.scalar_type() == at::kBFloat16)
    return rounding::error_sums(static_cast<const uint16_t*>(weight.const_data_ptr()),
                                static_cast<const uint16_t*>(dequantized.const_data_ptr()), rows, width);
  const at::Tensor w = weight.to(at::kFloat).contiguous(), d = dequantized.to(at::kFloat).contiguous();
  return rounding::error_sums(w.const_data_ptr<float>(), d.const_data_ptr<float>(), rows, width);
}

// Squares leave the range of float long before weights do.
rounding::ErrorSums sums_of(const at::Tensor& weight, const at::Tensor& dequantized) {
  constexpr double kLeastSum = 1e-20;  // squares that a float rounds to zero are none of it
  const rounding::ErrorSums sums = fast_sums_of(weight, dequantized);
  if (std::isfinite(sums.error) && std::isfinite(sums.norm) && sums.norm > kLeastSum) return sums;
  const at::Tensor w = weight.to(at::kDouble);
  return {.error = (w - dequantized.to(at::kDouble)).square().sum().item<double>(),
          .norm = w.square().sum().item<double>()};
}

double error_of(const std::vector<rounding::ErrorSums>& sums) {
  rounding::ErrorSums total;
  for (const rounding::ErrorSums& part : sums) {
    total.error += part.error;
    total.norm += part.norm;
  }
  return total.norm > 0.0 ? std::sqrt(total.error / total.norm) : 0.0;
}

// A tensor like `part` with `rows` rows; undefined stays undefined.
at::Tensor with_rows(const at::Tensor& part, int64_t rows) {
  if (!part.defined()) return {};
  ARKIT_CHECK(part.dim() == 2, "codes and scales of a strip must be matrices");
  return at::empty({rows, part.size(1)}, part.options());
}

void copy_rows(const at::Tensor& part, at::Tensor& whole, int64_t first_row) {
  if (!part.defined()) return;
  const at::Tensor dense = part.contiguous();
  ARKIT_CHECK(dense.size(1) == whole.size(1) && first_row + dense.size(0) <= whole.size(0) &&
                  dense.scalar_type() == whole.scalar_type(),
              "the strips of a layer do not fit together");
  const size_t row_bytes = static_cast<size_t>(whole.size(1)) * whole.element_size();
  std::memcpy(static_cast<char*>(whole.data_ptr()) + static_cast<size_t>(first_row) * row_bytes, dense.const_data_ptr(),
              dense.nbytes());
}

}  // namespace

// Decoded from codes, or cut out of the whole.
void StripRounding::Task::read_from(const WeightSource& weights, const std::string& tensor, at::ScalarType dtype) {
  if (weights.decodes_rows(tensor)) {
    rows = [&weights, tensor, dtype](int64_t first, int64_t count) {
      return weights.load_rows(tensor, first, count).to(dtype);
    };
    return;
  }
  const at::Tensor stored = weights.load(tensor);
  rows = [stored, dtype](int64_t first, int64_t count) { return stored.narrow(0, first, count).to(dtype); };
  // What another thread still reads comes back.
  if (stored.nbytes() > kLargeBytes) release = [&weights, tensor] { weights.release(tensor); };
}

bool StripRounding::is_whole(const LayerPlan& plan, const Scheme& scheme, RtnMode mode) {
  return !rows_are_independent(plan, scheme, mode);
}

StripRounding::StripRounding(Task task) : task_(std::move(task)) {
  const TensorQuant& quant = task_.plan.quant.weight;
  const int64_t columns = task_.rows ? task_.plan.in_features : task_.linear.weight.size(1);
  rows_ = task_.rows ? task_.plan.out_features : task_.linear.weight.size(0);
  strip_rows_ = rows_;
  if (rows_are_independent(task_.plan, task_.scheme, task_.mode)) {
    scale_rows_ = std::max<int64_t>(1, quant.block_rows);
    const int64_t wanted = kStripElements / std::max<int64_t>(1, columns);
    strip_rows_ = std::clamp(wanted / scale_rows_ * scale_rows_, scale_rows_, std::max(scale_rows_, rows_));
  }
  sums_.resize(static_cast<size_t>(strips()));
  if (task_.dequantized != at::ScalarType::Undefined) dequantized_ = at::empty({rows_, columns}, task_.dequantized);
}

void StripRounding::round(int64_t strip) {
  const int64_t first = strip * strip_rows_, count = std::min(strip_rows_, rows_ - first);
  const at::Tensor weight = rows(first, count);
  if (!io::is_finite(weight)) refuse_first_non_finite();
  const TensorQuant& quant = task_.plan.quant.weight;
  QuantizedWeight part = plugins::naming_layer(task_.linear.name, [&] {
    return task_.scheme.quantize_rtn(weight, quant, task_.mode, task_.importance, 1, task_.global_scale);
  });
  const at::ScalarType dtype = weight.scalar_type() == at::kHalf ? at::kFloat : weight.scalar_type();  // of comparing
  const at::Tensor back =
      plugins::naming_layer(task_.linear.name, [&] { return task_.scheme.dequantize(part, quant, dtype); });
  require_finite_result(task_.plan.name, back);
  sums_[static_cast<size_t>(strip)] = sums_of(weight, back);
  if (dequantized_.defined()) dequantized_.narrow(0, first, count).copy_(back);
  if (task_.release) task_.release();
  if (task_.take)
    task_.take(std::move(part), first);
  else
    join(std::move(part), first);
}

// The first of all, whichever thread came upon one.
void StripRounding::refuse_first_non_finite() const {
  for (int64_t first = 0; first < rows_; first += strip_rows_)
    io::check_finite(rows(first, std::min(strip_rows_, rows_ - first)), task_.linear.name + ".weight", first);
  ARKIT_CHECK(false, "a number is finite at one time and not at another");
}

double StripRounding::largest_weight() const {
  double largest = 0.0;
  for (int64_t first = 0; first < rows_; first += strip_rows_)
    largest = std::max(largest, rows(first, std::min(strip_rows_, rows_ - first)).abs().max().item<double>());
  return largest;
}

void StripRounding::join(QuantizedWeight part, int64_t first_row) {
  if (strips() == 1) {
    result_ = std::move(part);
    return;
  }
  ARKIT_CHECK(!part.group_index.defined(), "a scheme of single rows has no groups across them");
  const int64_t scale_rows = (rows_ + scale_rows_ - 1) / scale_rows_;
  {
    const std::lock_guard lock(mutex_);
    if (!result_.codes.defined()) {
      result_.codes = with_rows(part.codes, rows_);
      for (const auto member : kScales) result_.*member = with_rows(part.*member, scale_rows);
      result_.global_scale = part.global_scale;
    }
  }
  copy_rows(part.codes, result_.codes, first_row);
  for (const auto member : kScales) copy_rows(part.*member, result_.*member, first_row / scale_rows_);
}

double StripRounding::relative_error() const {
  return error_of(sums_);
}

double relative_error(const at::Tensor& weight, const at::Tensor& dequantized) {
  constexpr int64_t kRows = 64;
  const int64_t rows = weight.size(0);
  std::vector<rounding::ErrorSums> sums(static_cast<size_t>((rows + kRows - 1) / kRows));
  at::parallel_for(0, static_cast<int64_t>(sums.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t count = std::min(kRows, rows - i * kRows);
      sums[static_cast<size_t>(i)] =
          sums_of(weight.narrow(0, i * kRows, count), dequantized.narrow(0, i * kRows, count));
    }
  });
  return error_of(sums);
}

}  // namespace arkit
