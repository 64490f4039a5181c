#include "packing.h"

#include <algorithm>
#include <array>
#include <utility>

#include <arkit/sdk/float_layouts.h>
#include <arkit/sdk/int_format.h>

namespace arkit::auto_round {
namespace {

using Named = std::pair<std::string_view, Packing>;

// The name written comes first.
constexpr std::array kNames = {
    Named{"auto_round:auto_gptq", Packing::gptq},
    Named{"auto_round:gptq", Packing::gptq},
    Named{"auto", Packing::gptq},
    Named{"auto_round", Packing::plain},
    Named{"auto_round:gptqmodel", Packing::gptqmodel},
    Named{"auto_round:auto_awq", Packing::awq},
    Named{"auto_round:awq", Packing::awq},
    Named{"auto_round:llm_compressor", Packing::micro},
    Named{"auto_round:llm_compressor_nvfp4_e5m3", Packing::nvfp4_e5m3},
    Named{"auto_round:fp8_static", Packing::fp8_static},
    Named{"auto_round:fp8", Packing::fp8_block},
};

bool fits_awq(const LayerPlan& layer) {
  return !layer.quantized() || (layer.quant.weight.bits == 4 && sdk::supports_awq_shape(layer));
}

}  // namespace

bool is_int(Packing packing) {
  return packing == Packing::gptq || packing == Packing::plain || packing == Packing::gptqmodel ||
         packing == Packing::awq;
}

std::string_view packing_name(Packing packing) {
  if (packing == Packing::mxint) return "auto_round";
  const auto* found =
      std::find_if(kNames.begin(), kNames.end(), [&](const Named& entry) { return entry.second == packing; });
  return found == kNames.end() ? std::string_view() : found->first;
}

std::optional<Packing> packing_from_config(std::string_view name, const TensorQuant& weight) {
  if (weight.data_type == "mx_int" && name == "auto_round") return Packing::mxint;
  if (weight.data_type == "fp" && name.empty()) return Packing::fp8_weights;
  if (name.empty()) return Packing::gptq;
  const auto* found =
      std::find_if(kNames.begin(), kNames.end(), [&](const Named& entry) { return entry.first == name; });
  if (found == kNames.end() || is_int(found->second) != (weight.data_type == "int")) return std::nullopt;
  return found->second;
}

std::optional<Packing> packing_of_variant(std::string_view variant) {
  if (variant.empty() || variant == "auto_round") return std::nullopt;
  const auto* found =
      std::find_if(kNames.begin(), kNames.end(), [&](const Named& entry) { return entry.first == variant; });
  if (found == kNames.end() || !is_int(found->second)) return std::nullopt;
  return found->second;
}

std::optional<Packing> float_packing(const LayerQuant& quant) {
  const auto layout = sdk::float_layout_of(quant.weight);
  if (!layout) return std::nullopt;
  switch (*layout) {
    case sdk::FloatLayout::mxfp4:
    case sdk::FloatLayout::mxfp8:
    case sdk::FloatLayout::nvfp4:
      return Packing::micro;
    case sdk::FloatLayout::nvfp4_e5m3:
      return Packing::nvfp4_e5m3;
    case sdk::FloatLayout::mxint4:
      return Packing::mxint;
    case sdk::FloatLayout::fp8:
      break;
  }
  if (quant.weight.block_rows > 0) return Packing::fp8_block;
  if (!quant.act.quantized()) return Packing::fp8_weights;
  if (!quant.act.dynamic) return Packing::fp8_static;
  return std::nullopt;
}

const LayerQuant& leading_scheme(const QuantPlan& plan) {
  if (plan.global.quantized()) return plan.global;
  const auto found =
      std::find_if(plan.layers.begin(), plan.layers.end(), [](const LayerPlan& layer) { return layer.quantized(); });
  return found == plan.layers.end() ? plan.global : found->quant;
}

Packing choose_packing(const QuantPlan& plan, std::string_view variant) {
  if (const auto asked = packing_of_variant(variant)) return *asked;
  const LayerQuant& leading = leading_scheme(plan);
  if (!leading.quantized()) return Packing::none;
  if (leading.weight.data_type != "int") return float_packing(leading).value_or(Packing::none);
  if (leading.weight.sym) return Packing::gptq;
  const bool four_bits = leading.weight.bits == 4;
  return four_bits && std::all_of(plan.layers.begin(), plan.layers.end(), fits_awq) ? Packing::awq : Packing::plain;
}

}  // namespace arkit::auto_round
