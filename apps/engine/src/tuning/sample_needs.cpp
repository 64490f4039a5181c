#include "tuning/sample_needs.h"

#include <algorithm>

#include "rounding/rtn_mode.h"

namespace arkit {

bool needs_samples(const QuantPlan& plan, bool tunes, std::optional<bool> disable_opt_rtn,
                   const SchemeFor& scheme_for) {
  if (plan.attention.quantized()) return true;
  const bool plain = traits_of(plan.global, scheme_for).plain_by_default;
  return std::any_of(plan.layers.begin(), plan.layers.end(), [&](const LayerPlan& layer) {
    const auto& [weight, act, rotation] = layer.quant;
    if (!layer.quantized()) return false;
    if (tunes || wants_act_max(act)) return true;
    return weight.quantized() && rtn_mode(layer, plain, disable_opt_rtn) == RtnMode::searched &&
           traits_of(layer.quant, scheme_for).searches;
  });
}

}  // namespace arkit
