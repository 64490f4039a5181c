#include "rounding/rtn_mode.h"

namespace arkit {

RtnMode rtn_mode(const LayerPlan& layer, bool plain_by_default, std::optional<bool> disable_opt_rtn) {
  if (disable_opt_rtn.value_or(plain_by_default)) return RtnMode::plain;
  const bool skipped = !layer.experts.empty() && !disable_opt_rtn.has_value() && layer.quant.weight.super_bits == 0;
  return skipped ? RtnMode::plain : RtnMode::searched;
}

}  // namespace arkit
