#include "convert/grid.h"

#include <algorithm>
#include <utility>

#include <ATen/ATen.h>

#include <arkit/str.h>

namespace arkit {
namespace {

constexpr int64_t kElements = int64_t{1} << 22;  // compared at a time

// Rounding a number of the normal range to F16 changes it by at most this share; more is no rounding any more.
constexpr double kLargestRounding = 1.0 / 2048;

constexpr std::pair<const char*, at::Tensor QuantizedWeight::*> kExactMembers[] = {
    {"group minima", &QuantizedWeight::group_min},
    {"scales of super-blocks", &QuantizedWeight::super_scale},
    {"minima of super-blocks", &QuantizedWeight::super_min},
    {"calibrated input maximum", &QuantizedWeight::act_max}};

bool same(const at::Tensor& a, const at::Tensor& b) {
  return a.defined() == b.defined() && (!a.defined() || (a.sizes() == b.sizes() && a.equal(b)));
}

// Zero points [out, groups] in f64; symmetric integers have theirs in the middle, and formats without zero points are
// never compared with one that has some.
at::Tensor zero_points(const QuantizedWeight& weight, const TensorQuant& quant) {
  if (weight.zero_point.defined()) return weight.zero_point.to(at::kDouble);
  return at::full(weight.scale.sizes(), double(1 << (quant.bits - 1)), at::kDouble);
}

// The group of each input, for what is compared per weight.
at::Tensor group_index(const QuantizedWeight& weight) {
  if (weight.group_index.defined()) return weight.group_index.to(at::kLong);
  const int64_t in = weight.codes.size(1), groups = weight.scale.size(1);
  const int64_t group = (in + groups - 1) / groups;
  return at::arange(in, at::kLong).floor_divide_(group);
}

int64_t count(const at::Tensor& mask) {
  return mask.sum().item<int64_t>();
}

std::string_view type_name(at::ScalarType type) {
  if (type == at::kHalf) return "float16";
  return type == at::kBFloat16 ? "bfloat16" : "float32";
}

// Codes that differ by more than their zero points do.
int64_t moved_differently(const QuantizedWeight& wanted, const QuantizedWeight& got, const at::Tensor& delta) {
  const int64_t out = wanted.codes.size(0), in = wanted.codes.size(1);
  const at::Tensor index = group_index(wanted), moves = delta.to(at::kShort);
  const int64_t rows = std::max<int64_t>(1, kElements / in);
  int64_t differing = 0;
  for (int64_t first = 0; first < out; first += rows) {
    const auto part = [&](const at::Tensor& t) { return t.narrow(0, first, std::min(rows, out - first)); };
    const at::Tensor moved = part(got.codes).to(at::kShort).sub_(part(wanted.codes).to(at::kShort));
    differing += count(moved.ne(part(moves).index_select(1, index)));
  }
  return differing;
}

std::string lost_zero_points(const at::Tensor& wanted, const at::Tensor& got) {
  if (!wanted.eq(wanted.round()).all().item<bool>())
    return "its zero points are no whole numbers, as mlx-lm's own quantization gives them, and the format stores whole "
           "ones";
  const at::Tensor wrong = wanted.ne(got);
  const at::Tensor first = wrong.flatten().nonzero()[0][0];
  return str(count(wrong), " of ", wanted.numel(),
             " groups have a zero point the format does not have: ", wanted.flatten()[first].item<double>(),
             " would be read back as ", got.flatten()[first].item<double>());
}

void compare_codes(const QuantizedWeight& wanted, const QuantizedWeight& got, const TensorQuant& quant,
                   GridDifference& difference) {
  // As bytes: LibTorch does not compare 8-bit floats.
  const bool same_codes = wanted.codes.view(at::kByte).equal(got.codes.view(at::kByte));
  const at::Tensor zero = zero_points(wanted, quant), other = zero_points(got, quant);
  if (same_codes && zero.equal(other)) return;
  const bool shifts = wanted.zero_point.defined() || got.zero_point.defined();
  if (shifts && zero.eq(zero.round()).all().item<bool>() && moved_differently(wanted, got, other - zero) == 0) {
    difference.moved_groups = count(zero.ne(other));
    return;
  }
  difference.broken = zero.equal(other) ? "its codes would be read back changed" : lost_zero_points(zero, other);
}

void compare_scales(const QuantizedWeight& wanted, const QuantizedWeight& got, GridDifference& difference) {
  const at::Tensor scale = wanted.scale.to(at::kDouble), other = got.scale.to(at::kDouble);
  const at::Tensor wrong = scale.ne(other);
  difference.rounded_scales = count(wrong);
  if (difference.rounded_scales == 0) return;
  const at::Tensor change = other.sub(scale).div(scale).abs().masked_fill(scale.eq(0), 0.0);
  const at::Tensor beyond = change.le(kLargestRounding).logical_not();  // infinities too
  if (beyond.any().item<bool>())
    difference.broken = str(count(beyond), " of ", difference.groups, " scales are too large or too small for ",
                            type_name(got.scale.scalar_type()), ", the type the format stores");
  else
    difference.max_scale = change.max().item<double>();
}

void compare_offsets(const QuantizedWeight& wanted, const QuantizedWeight& got, const TensorQuant& quant,
                     GridDifference& difference) {
  if (!wanted.offset.defined() && !got.offset.defined()) return;
  const auto offset_of = [&](const QuantizedWeight& weight) {
    if (weight.offset.defined()) return weight.offset.to(at::kDouble);
    return weight.scale.to(at::kDouble).mul(zero_points(weight, quant)).neg();
  };
  const at::Tensor scale = wanted.scale.to(at::kDouble);
  const at::Tensor moved = got.scale.to(at::kDouble).mul(zero_points(got, quant) - zero_points(wanted, quant));
  const at::Tensor error = offset_of(got).add(moved).sub(offset_of(wanted));
  difference.rounded_offsets = count(error.ne(0));
  if (difference.rounded_offsets == 0) return;
  const at::Tensor steps = error.div(scale).abs().masked_fill(scale.eq(0), 0.0);
  // The offset is at most 2^bits steps, and its scale may have been rounded before it.
  const at::Tensor beyond = steps.le(2.0 * kLargestRounding * double(1 << quant.bits)).logical_not();
  if (beyond.any().item<bool>())
    difference.broken = str("the offset -scale * zero point of ", count(beyond), " of ", difference.groups,
                            " groups is too large or too small for the type the format stores");
  else
    difference.max_offset = steps.max().item<double>();
}

std::string percent(double share) {
  return str(share * 100.0, " %");
}

}  // namespace

std::string GridDifference::words() const {
  if (!broken.empty()) return broken;
  std::string text;
  if (rounded_scales > 0)
    text = str(rounded_scales, " of ", groups, " scales would be rounded, by at most ", percent(max_scale));
  if (rounded_offsets > 0)
    text += str(text.empty() ? "" : ", and ", "the offset -scale * zero point of ", rounded_offsets, " of ", groups,
                " groups would be rounded, by at most ", max_offset, " of a step");
  return text;
}

GridDifference compare_grids(const QuantizedWeight& wanted, const QuantizedWeight& got, const TensorQuant& quant) {
  GridDifference difference{.weights = wanted.codes.numel(), .groups = wanted.scale.numel(), .broken = {}};
  if (wanted.codes.sizes() != got.codes.sizes() || wanted.codes.scalar_type() != got.codes.scalar_type() ||
      wanted.scale.sizes() != got.scale.sizes()) {
    difference.broken = "its codes or groups would be read back in another shape";
    return difference;
  }
  const bool scattered = wanted.group_index.defined();
  if (!same(wanted.group_index, got.group_index))
    difference.broken = scattered
                            ? "its groups are scattered over the inputs (act order, desc_act), and the format has "
                              "no group index that its loaders follow"
                            : "its group index would be read back changed";
  if (difference.broken.empty() && !same(wanted.global_scale, got.global_scale))
    difference.broken = "its global scale would be read back changed";
  // Nothing rounds these.
  for (const auto& [what, member] : kExactMembers)
    if (difference.broken.empty() && (wanted.*member).defined() && !same(wanted.*member, got.*member))
      difference.broken = str("its ", what, " would be read back changed");
  if (difference.broken.empty()) compare_codes(wanted, got, quant, difference);
  if (difference.broken.empty()) compare_scales(wanted, got, difference);
  if (difference.broken.empty()) compare_offsets(wanted, got, quant, difference);
  return difference;
}

}  // namespace arkit
