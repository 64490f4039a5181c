#include "plugins/backend_door/description.h"

#include <utility>

#include <ATen/ATen.h>

#include <arkit/error.h>

namespace arkit::backend_door {
namespace {

constexpr std::pair<ArkitType, at::ScalarType> kTypes[] = {
    {ARKIT_FLOAT32, at::kFloat},
    {ARKIT_BFLOAT16, at::kBFloat16},
    {ARKIT_FLOAT16, at::kHalf},
    {ARKIT_FLOAT64, at::kDouble},
    {ARKIT_UINT8, at::kByte},
    {ARKIT_INT8, at::kChar},
    {ARKIT_INT16, at::kShort},
    {ARKIT_INT32, at::kInt},
    {ARKIT_INT64, at::kLong},
    {ARKIT_BOOL, at::kBool},
    {ARKIT_FLOAT8_E4M3, at::kFloat8_e4m3fn},
    {ARKIT_FLOAT8_E5M2, at::kFloat8_e5m2},
    {ARKIT_FLOAT8_E8M0, at::kFloat8_e8m0fnu},
    {ARKIT_UINT16, at::kUInt16},
    {ARKIT_UINT32, at::kUInt32},
};

ArkitQuant describe_quant(const TensorQuant& quant) {
  return {.struct_size = sizeof(ArkitQuant),
          .data_type = quant.data_type.c_str(),
          .scale_dtype = quant.scale_dtype.c_str(),
          .observer = quant.observer.c_str(),
          .group_size = quant.group_size,
          .block_rows = quant.block_rows,
          .super_group_size = quant.super_group_size,
          .bits = quant.bits,
          .super_bits = quant.super_bits,
          .sym = quant.sym,
          .dynamic = quant.dynamic};
}

}  // namespace

ArkitType type_of(at::ScalarType type) noexcept {
  for (const auto& [ours, scalar] : kTypes)
    if (scalar == type) return ours;
  return 0;
}

at::ScalarType scalar_type(ArkitType type) noexcept {
  for (const auto& [ours, scalar] : kTypes)
    if (ours == type) return scalar;
  return at::ScalarType::Undefined;
}

ArkitTensor describe(const at::Tensor& tensor) {
  ARKIT_CHECK(tensor.is_contiguous() && tensor.device().is_cpu(), "a tensor for a backend is not laid out for it");
  return {.struct_size = sizeof(ArkitTensor),
          .shape = tensor.sizes().data(),
          .rank = static_cast<int32_t>(tensor.dim()),
          .type = type_of(tensor.scalar_type()),
          .host = const_cast<void*>(tensor.const_data_ptr()),
          .buffer = nullptr,
          .offset = 0};
}

UnitDescription::UnitDescription(std::span<const LinearSpec* const> layers) {
  for (const LinearSpec* layer : layers) {
    const ArkitQuant& weight = quants_.emplace_back(describe_quant(layer->quant.weight));
    const ArkitQuant& activation = quants_.emplace_back(describe_quant(layer->quant.act));
    pointers_.push_back(&linears_.emplace_back(ArkitLinear{.struct_size = sizeof(ArkitLinear),
                                                           .name = layer->name.c_str(),
                                                           .packing = layer->packing.c_str(),
                                                           .rotation = layer->quant.rotation.c_str(),
                                                           .weight = &weight,
                                                           .activation = &activation,
                                                           .out_features = layer->out_features,
                                                           .in_features = layer->in_features,
                                                           .has_bias = layer->has_bias,
                                                           .padding = 0}));
  }
  unit_ = {sizeof(ArkitUnit), ARKIT_UNIT_LINEARS, pointers_.data(), pointers_.size()};
}

}  // namespace arkit::backend_door
