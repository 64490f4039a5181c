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

namespace arkit::gguf_k {
namespace {

int64_t grain_rows(int64_t columns) {
  return std::max<int64_t>(1, kGrain / columns);
}

const Searches& best_searches() {
#if defined(__x86_64__)
  static const KernelSet set = kernel_set();
  if (set == KernelSet::avx512) return searches_avx512;
  if (set == KernelSet::avx2) return searches_avx2;
#endif
  return searches_baseline;
}

// A row of any float type as float32.
void copy_row(const at::Tensor& weight, int64_t row, float factor, std::vector<float>& to) {
  at::Tensor out = at::from_blob(to.data(), {weight.size(1)}, at::kFloat);
  out.copy_(weight.select(0, row));
  if (factor != 1)
    for (float& value : to) value *= factor;
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
  if (!at::isfinite(weight).all().item<bool>()) throw_input("the weight holds NaN or infinity");
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
  const bool plain = weight.scalar_type() == at::kFloat && type != BlockType::nvfp4;
  at::parallel_for(0, rows, grain_rows(columns), [&](int64_t begin, int64_t end) {
    std::vector<float> numbers(plain ? 0 : static_cast<size_t>(columns));
    RowRounder rounder(type, best_searches());
    AutoRoundRounder other(type, best_searches());
    for (int64_t row = begin; row < end; ++row) {
      if (!plain) copy_row(weight, row, factor, numbers);
      const float* x = plain ? weight.const_data_ptr<float>() + row * columns : numbers.data();
      const auto at_row = [&](auto* base, int64_t each) { return base == nullptr ? nullptr : base + row * each; };
      const Row to{at_row(first.codes, columns), at_row(first.d, blocks), at_row(first.dmin, blocks),
                   at_row(first.scales, groups), at_row(first.minima, groups)};
      search == Search::ggml ? rounder.round(x, columns, by_column, to) : other.round(x, columns, by_column, to);
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
  std::array<float, 256> levels{};
  const int zero = shape.minima ? 0 : 1 << (shape.bits - 1);
  for (int code = 0; code < 1 << shape.bits; ++code)
    levels[static_cast<size_t>(code)] = static_cast<float>(code - zero);
  const std::span<const float> table = sdk::levels_of(type);
  std::copy(table.begin(), table.end(), levels.begin());
  at::Tensor out = at::empty({rows, columns}, at::kFloat);
  const auto* from = codes.const_data_ptr<uint8_t>();
  const auto* scale = scales.const_data_ptr<float>();
  const float* minimum = shape.minima ? minima.const_data_ptr<float>() : nullptr;
  auto* to = out.mutable_data_ptr<float>();
  at::parallel_for(0, rows * groups, std::max<int64_t>(1, kGrain / shape.group), [&](int64_t begin, int64_t end) {
    for (int64_t group = begin; group < end; ++group)
      for (int64_t i = group * shape.group; i < (group + 1) * shape.group; ++i) {
        const float product = scale[group] * levels[from[i]];
        to[i] = minimum == nullptr ? product : product - minimum[group];
      }
  });
  return out.to(dtype);
}

}  // namespace arkit::gguf_k
