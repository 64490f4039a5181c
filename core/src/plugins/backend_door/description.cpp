#include "plugins/backend_door/description.h"

#include <utility>
#include <variant>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/str.h>

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

ArkitRole role_of(LayerRole role) {
  switch (role) {
    case LayerRole::query:
      return ARKIT_ROLE_QUERY;
    case LayerRole::key:
      return ARKIT_ROLE_KEY;
    case LayerRole::value:
      return ARKIT_ROLE_VALUE;
    case LayerRole::qkv:
      return ARKIT_ROLE_QKV;
    case LayerRole::output:
      return ARKIT_ROLE_OUTPUT;
    case LayerRole::gate:
      return ARKIT_ROLE_GATE;
    case LayerRole::up:
      return ARKIT_ROLE_UP;
    case LayerRole::gate_up:
      return ARKIT_ROLE_GATE_UP;
    case LayerRole::down:
      return ARKIT_ROLE_DOWN;
    default:
      return 0;
  }
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
  unit_ = {sizeof(ArkitUnit), ARKIT_UNIT_LINEARS, pointers_.data(), pointers_.size(), nullptr};
}

UnitDescription::UnitDescription(const BlockSpec& block) : UnitDescription(std::span(block.layers)) {
  const BlockLayout& layout = *block.layout;
  const auto no = [&](std::string_view what) {
    throw_unsupported(str("block '", layout.name, "': ", what, " is not what backends take whole"));
  };
  const auto* attention = std::get_if<Attention>(&layout.mixer);
  const auto* dense = std::get_if<Dense>(&layout.feed_forward);
  if (attention == nullptr || attention->key_dim != attention->value_dim) no("its mixer");
  if (dense == nullptr || !dense->gated) no("its feed-forward network");
  if (layout.parallel) no("a block of parallel sublayers");
  if (layout.norms.bias || layout.norms.whole_heads) no("a norm of its kind");
  if (attention->rows_by_key_head) no("the order of its fused rows");
  for (const LayerPlan& layer : layout.layers) {
    const ArkitRole role = role_of(layer.role);
    if (role == 0) no(str("layer '", layer.name, "'"));
    roles_.push_back(role);
  }
  uint64_t norms = 0;
  const auto names = norm_names(layout.norms);
  for (size_t i = 0; i < names.size(); ++i) norms |= names[i]->empty() ? 0 : uint64_t{1} << i;
  block_ = {.struct_size = sizeof(ArkitBlock),
            .name = layout.name.c_str(),
            .norm_kind = layout.norms.kind.c_str(),
            .activation = dense->activation.c_str(),
            .roles = roles_.data(),
            .hidden_size = block.hidden_size,
            .heads = attention->heads,
            .kv_heads = attention->kv_heads,
            .head_dim = attention->key_dim,
            .rope_dim = block.rope == nullptr ? 0 : block.rope->dim,
            .window = attention->window,
            .width = dense->width,
            .attention_scale = attention->scale,
            .softcap = attention->softcap,
            .residual_scale = layout.residual_scale,
            .norm_epsilon = layout.norms.epsilon,
            .norm_offset = layout.norms.offset,
            .norms = norms,
            .flags = block.rope != nullptr && block.rope->neighbours ? ARKIT_BLOCK_ROPE_NEIGHBOURS : 0U};
  unit_.kind = ARKIT_UNIT_BLOCK;
  unit_.block = &block_;
}

std::array<const std::string*, ARKIT_NORM_COUNT> norm_names(const Norms& norms) {
  return {&norms.mixer_in, &norms.mixer_out, &norms.feed_forward_in, &norms.feed_forward_out, &norms.query, &norms.key};
}

}  // namespace arkit::backend_door
