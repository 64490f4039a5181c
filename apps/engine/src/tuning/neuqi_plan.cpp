#include "tuning/neuqi_plan.h"

#include <arkit/error.h>
#include <arkit/str.h>

#include "quant/scheme_resolver.h"
#include "rounding/rtn_mode.h"

namespace arkit {
namespace {

bool ask_for_search(LayerQuant& quant, const SchemeFor& scheme_for) {
  if (!quant.weight.quantized() || !traits_of(quant, scheme_for).grid_search) return false;
  quant.weight.observer = "neuqi";
  return true;
}

[[noreturn]] void refuse_int8(const LayerQuant& global) {
  throw_usage(str("--enable_neuqi is a search, and '", describe(global),
                  "' rounds without one unless told to: 8 bits gain little; add --enable_opt_rtn, or leave it out"));
}

}  // namespace

void apply_neuqi(QuantPlan& plan, const ResolvedTuning& tuning, const SchemeFor& scheme_for, Reporter& reporter) {
  if (!tuning.options.enable_neuqi) return;
  const bool rounds = tuning.iters == 0;
  const LayerQuant given = plan.global;
  const bool plain_by_default = traits_of(given, scheme_for).plain_by_default;
  int64_t searched = 0, others = 0, plain = 0;
  bool rounds_plainly = false;  // by the rule for 8 bits
  for (LayerPlan& layer : plan.layers) {
    if (!layer.quant.weight.quantized()) continue;
    if (!ask_for_search(layer.quant, scheme_for)) {
      ++others;
    } else if (rounds && rtn_mode(layer, plain_by_default, tuning.disable_opt_rtn) == RtnMode::plain) {
      ++plain;
      rounds_plainly = rounds_plainly || layer.experts.empty();
    } else {
      ++searched;
    }
  }
  if (rounds_plainly && searched == 0) refuse_int8(given);
  if (searched == 0 && plain == 0)
    throw_usage(str("--enable_neuqi searches grids of integer weights, and scheme '", plan.scheme_name,
                    "' has none that are free; choose an integer scheme such as W4A16, or leave it out"));
  (void)ask_for_search(plan.global, scheme_for);
  for (PatternRule& rule : plan.rules) (void)ask_for_search(rule.quant, scheme_for);
  if (others > 0)
    reporter.info(str("--enable_neuqi leaves ", others, " of ", others + plain + searched,
                      " layers as they are: their weights are no integers, or have a scale rule of their own"));
  if (plain > 0)
    reporter.info(str("--enable_neuqi leaves ", plain,
                      " routed experts at plain rounding, as OPT-RTN does; --enable_opt_rtn searches them too"));
}

}  // namespace arkit
