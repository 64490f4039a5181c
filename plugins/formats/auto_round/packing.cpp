#include "packing.h"

#include <algorithm>
#include <array>
#include <utility>

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
};

bool fits_awq(const LayerPlan& layer) {
  return !layer.quantized() || (layer.quant.weight.bits == 4 && sdk::supports_awq_shape(layer));
}

}  // namespace

std::string_view packing_name(Packing packing) {
  const auto* found =
      std::find_if(kNames.begin(), kNames.end(), [&](const Named& entry) { return entry.second == packing; });
  return found->first;
}

std::optional<Packing> packing_from_name(std::string_view name) {
  const auto* found =
      std::find_if(kNames.begin(), kNames.end(), [&](const Named& entry) { return entry.first == name; });
  if (found == kNames.end()) return std::nullopt;
  return found->second;
}

std::optional<Packing> packing_of_variant(std::string_view variant) {
  if (variant.empty() || variant == "auto_round") return std::nullopt;
  return packing_from_name(variant);
}

Packing choose_packing(const QuantPlan& plan, std::string_view variant) {
  if (const auto asked = packing_of_variant(variant)) return *asked;
  if (plan.global.weight.sym) return Packing::gptq;
  const bool four_bits = plan.global.weight.bits == 4;
  return four_bits && std::all_of(plan.layers.begin(), plan.layers.end(), fits_awq) ? Packing::awq : Packing::plain;
}

}  // namespace arkit::auto_round
