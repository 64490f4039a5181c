#include "block_rows.h"

#include <algorithm>
#include <array>
#include <span>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <arkit/error.h>
#include <arkit/kernel_set.h>
#include <arkit/str.h>

#include "auto_round_rows.h"
#include "block_values.h"
#include "least_error_rows.h"

namespace arkit::gguf_k {
namespace {

int64_t grain_rows(int64_t columns) {
  return std::max<int64_t>(1, kGrain / columns);
}

// Some rows of a weight at a time as float32, times a factor.
class FloatRows {
 public:
  FloatRows(const at::Tensor& weight, float factor) : weight_(weight), factor_(factor), columns_(weight.size(1)) {}

  // Valid until the next call; throws ErrorCode::input for a NaN or an infinity.
  const float* rows(int64_t first, int64_t count) {
    const float* x = nullptr;
    if (weight_.scalar_type() == at::kFloat && factor_ == 1) {
      x = weight_.const_data_ptr<float>() + first * columns_;
    } else {
      numbers_.resize(static_cast<size_t>(count * columns_));
      at::from_blob(numbers_.data(), {count, columns_}, at::kFloat).copy_(weight_.narrow(0, first, count));
      x = numbers_.data();
    }
    if (!all_finite(x, count * columns_)) throw_input("the weight holds NaN or infinity");
    if (factor_ != 1)
      for (float& value : numbers_) value *= factor_;
    return x;
  }

 private:
  const at::Tensor& weight_;
  const float factor_;
  const int64_t columns_;
  std::vector<float> numbers_;
};

const Searches& best_searches() {
#if defined(__x86_64__)
  static const KernelSet set = kernel_set();
  if (set == KernelSet::avx512) return searches_avx512;
  if (set == KernelSet::avx2) return searches_avx2;
#endif
  return searches_baseline;
}

// The scale of a whole NVFP4 tensor, under which its largest weight has the largest scale byte and level.
float tensor_scale(const at::Tensor& weight) {
  constexpr float kMost = 448 * 6;
  const float scale = at::maximum(weight.max(), -weight.min()).to(at::kFloat).item<float>() / kMost;
  return scale >= 0x1p-120F ? scale : 1;  // a tensor of zeros; its inverse is finite
}

}  // namespace

QuantizedWeight quantize(const at::Tensor& weight, BlockType type, const at::Tensor& importance, Search search) {
  const BlockShape shape = shape_of(type);
  const int64_t rows = weight.size(0), columns = weight.size(1);
  ARKIT_CHECK(columns % shape.block == 0, str("rows of ", columns, " do not hold whole blocks of ", shape.block));
  const bool super = shape.scale_bits > 0;
  const int64_t groups = columns / shape.group, blocks = super ? columns / shape.block : groups;
  at::Tensor columns_importance;
  if (importance.defined())
    columns_importance = importance.to(at::kFloat).contiguous();
  else if (type == BlockType::nvfp4)
    columns_importance = at::ones({columns}, at::kFloat);  // its scales are searched for in any case
  const float* by_column = columns_importance.defined() ? columns_importance.const_data_ptr<float>() : nullptr;

  QuantizedWeight out;
  out.codes = at::empty({rows, columns}, at::kByte);
  const at::Tensor d = at::empty({rows, blocks}, at::kFloat);
  const at::Tensor dmin = shape.minima ? at::empty({rows, blocks}, at::kFloat) : at::Tensor();
  const at::Tensor scales = super ? at::empty({rows, groups}, at::kChar) : at::Tensor();
  const at::Tensor minima = super && shape.minima ? at::empty({rows, groups}, at::kByte) : at::Tensor();
  const Row first{.codes = out.codes.mutable_data_ptr<uint8_t>(),
                  .d = d.mutable_data_ptr<float>(),
                  .dmin = shape.minima ? dmin.mutable_data_ptr<float>() : nullptr,
                  .scales = super ? scales.mutable_data_ptr<int8_t>() : nullptr,
                  .minima = super && shape.minima ? minima.mutable_data_ptr<uint8_t>() : nullptr};
  float factor = 1;
  if (type == BlockType::nvfp4) {
    out.global_scale = at::full({1}, tensor_scale(weight));
    factor = 1 / out.global_scale.item<float>();
  }
  const int64_t grain = grain_rows(columns);
  at::parallel_for(0, rows, grain, [&](int64_t begin, int64_t end) {
    FloatRows numbers(weight, factor);
    RowRounder rounder(type, best_searches());
    AutoRoundRounder other(type, best_searches());
    LeastErrorRounder either(type, best_searches());
    const bool both = search == Search::least_error && by_column != nullptr && LeastErrorRounder::knows_both(type);
    for (int64_t first_row = begin; first_row < end; first_row += grain) {
      const int64_t last = std::min(end, first_row + grain);
      const float* x = numbers.rows(first_row, last - first_row);
      for (int64_t row = first_row; row < last; ++row, x += columns) {
        const auto at_row = [&](auto* base, int64_t each) { return base == nullptr ? nullptr : base + row * each; };
        const Row to{at_row(first.codes, columns), at_row(first.d, blocks), at_row(first.dmin, blocks),
                     at_row(first.scales, groups), at_row(first.minima, groups)};
        if (both)
          either.round(x, columns, by_column, to);
        else if (search == Search::auto_round)
          other.round(x, columns, by_column, to);
        else
          rounder.round(x, columns, by_column, to);
      }
    }
  });
  if (super) {
    out.scale = scales.to(at::kFloat);
    out.super_scale = d;
    if (shape.minima) out.group_min = minima.to(at::kFloat);
    if (shape.minima) out.super_min = dmin;
  } else {
    out.scale = d;
    if (shape.minima) out.offset = dmin.neg();
  }
  return out;
}

GroupValues group_values(const QuantizedWeight& weight, BlockType type) {
  const BlockShape shape = shape_of(type);
  if (weight.global_scale.defined()) return {weight.scale * weight.global_scale, {}};
  if (shape.scale_bits == 0) return {weight.scale, weight.offset.defined() ? weight.offset.neg() : at::Tensor()};
  const int64_t each = shape.block / shape.group;
  const auto spread = [&](const at::Tensor& of_blocks) { return of_blocks.repeat_interleave(each, 1); };
  GroupValues values;
  values.scale = spread(weight.super_scale) * weight.scale;
  if (shape.minima) values.minimum = spread(weight.super_min) * weight.group_min;
  return values;
}

at::Tensor dequantize(const QuantizedWeight& weight, BlockType type, at::ScalarType dtype) {
  const BlockShape shape = shape_of(type);
  const int64_t rows = weight.codes.size(0), columns = weight.codes.size(1), groups = columns / shape.group;
  const GroupValues values = group_values(weight, type);
  const at::Tensor scales = values.scale.contiguous(), codes = weight.codes.contiguous();
  const at::Tensor minima = shape.minima ? values.minimum.contiguous() : at::Tensor();
  std::array<float, 256> levels{};  // a code of a file may be beyond those that mean something
  const std::span<const float> table = sdk::levels_of(type);
  std::copy(table.begin(), table.end(), levels.begin());
  const int zero = shape.minima ? 0 : 1 << (shape.bits - 1);
  at::Tensor out = at::empty({rows, columns}, dtype);
  const auto* from = codes.const_data_ptr<uint8_t>();
  const auto* scale = scales.const_data_ptr<float>();
  const float* minimum = shape.minima ? minima.const_data_ptr<float>() : nullptr;
  const int64_t chunk = std::max<int64_t>(1, kGrain / shape.group);
  at::Tensor flat = out.view({-1});
  at::parallel_for(0, rows * groups, chunk, [&](int64_t begin, int64_t end) {
    std::vector<float> numbers(dtype == at::kFloat ? 0 : static_cast<size_t>(chunk * shape.group));
    for (int64_t first = begin; first < end; first += chunk) {
      const int64_t count = std::min(chunk, end - first), at = first * shape.group;
      const CodedGroups run{.codes = from + at,
                            .scales = scale + first,
                            .minima = minimum == nullptr ? nullptr : minimum + first,
                            .table = table.empty() ? nullptr : levels.data(),
                            .groups = count,
                            .group = shape.group,
                            .zero = zero};
      if (dtype == at::kFloat) {
        put_values(run, out.mutable_data_ptr<float>() + at);
      } else {
        put_values(run, numbers.data());
        flat.narrow(0, at, count * shape.group).copy_(at::from_blob(numbers.data(), {count * shape.group}, at::kFloat));
      }
    }
  });
  return out;
}

}  // namespace arkit::gguf_k
