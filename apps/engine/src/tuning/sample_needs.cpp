#include "tuning/sample_needs.h"

#include <algorithm>

#include "rounding/rtn_mode.h"

namespace arkit {

bool needs_samples(const QuantPlan& plan, bool tunes, std::optional<bool> disable_opt_rtn, const SchemeFor& scheme_for,
                   bool importance_given) {
  if (plan.attention.quantized()) return true;
  const bool plain = traits_of(plan.global, scheme_for).plain_by_default;
  return std::any_of(plan.layers.begin(), plan.layers.end(), [&](const LayerPlan& layer) {
    const auto& [weight, act, rotation] = layer.quant;
    if (!layer.quantized()) return false;
    if (tunes || wants_act_max(act)) return true;
    return !importance_given && weight.quantized() && rtn_mode(layer, plain, disable_opt_rtn) == RtnMode::searched &&
           traits_of(layer.quant, scheme_for).searches;
  });
}

// alg_ext searches initial scales while tuning, OPT-RTN final ones (docs/spec/signround.md 10).
bool looks_at_importance(const LayerPlan& layer, const SchemeTraits& traits, const RoundingStyle& style) {
  if (!layer.quant.weight.quantized()) return false;
  if (style.tunes) return traits.imatrix_when_tuned && (style.alg_ext || traits.tuned_from_search);
  return traits.searches && rtn_mode(layer, style.plain_by_default, style.disable_opt_rtn) == RtnMode::searched;
}

}  // namespace arkit
