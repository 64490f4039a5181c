#include "autoscheme/accounting.h"

#include <c10/core/ScalarType.h>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::auto_scheme {
namespace {

constexpr int64_t kUnquantizedBits = 16;

int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

int64_t count_groups(const LayerPlan& layer, const TensorQuant& weight) {
  if (weight.group_size == 0) return 1;
  if (weight.group_size < 0) return layer.out_features;
  const int64_t rows = weight.block_rows > 0 ? ceil_div(layer.out_features, weight.block_rows) : layer.out_features;
  return checked_mul(rows, ceil_div(layer.in_features, weight.group_size), layer.name);
}

int64_t scale_bits(const TensorQuant& weight) {
  for (const std::string_view small : {"mx_fp", "nv_fp", "fp4"})
    if (weight.data_type.find(small) != std::string::npos) return 8;
  return 16;
}

}  // namespace

int64_t autoround_bits(const LayerPlan& layer, const TensorQuant& weight, bool codes_only) {
  const int64_t numel = checked_mul(layer.out_features, layer.in_features, layer.name);
  if (!weight.quantized()) return checked_mul(numel, kUnquantizedBits, layer.name);
  const int64_t codes = checked_mul(numel, weight.bits, layer.name);
  if (codes_only) return codes;
  const int64_t groups = count_groups(layer, weight);
  if (weight.super_bits > 0) {
    const int64_t supers = ceil_div(groups, std::max<int64_t>(weight.super_group_size, 1));
    return codes + groups * weight.super_bits * 2 + supers * 64;
  }
  const bool has_zero_points = !weight.sym || weight.data_type.find("int") != std::string::npos;
  return codes + groups * (scale_bits(weight) + (has_zero_points ? weight.bits : 0));
}

int64_t CostModel::bits(const LayerPlan& layer, const LayerQuant& quant) const {
  if (accounting_ != Accounting::exact)
    return autoround_bits(layer, quant.weight, accounting_ == Accounting::codes_only);
  if (quant.quantized()) {
    LayerPlan packed = layer;
    packed.quant = quant;
    packed.has_bias = false;
    return checked_mul(exporter_.packed_bytes(packed, variant_), 8, layer.name);
  }
  const TensorInfo* stored = weights_.find(layer.name + ".weight");
  const int64_t bits = stored != nullptr ? static_cast<int64_t>(c10::elementSize(stored->dtype)) * 8 : kUnquantizedBits;
  return checked_mul(checked_mul(layer.out_features, layer.in_features, layer.name), bits, layer.name);
}

}  // namespace arkit::auto_scheme
