#include "rounding/rtn_mode.h"

namespace arkit {

RtnMode rtn_mode(const LayerPlan& layer, const LayerQuant& global, std::optional<bool> disable_opt_rtn) {
  const bool int8 = global.weight.bits >= 8 && global.act.bits >= 8 && global.weight.data_type == "int";
  if (disable_opt_rtn.value_or(int8)) return RtnMode::plain;
  const bool skipped = !layer.experts.empty() && !disable_opt_rtn.has_value() && layer.quant.weight.super_bits == 0;
  return skipped ? RtnMode::plain : RtnMode::searched;
}

}  // namespace arkit
