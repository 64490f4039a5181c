#include "convert/layer_trial.h"

#include "convert/export_plan.h"
#include "convert/grid.h"

namespace arkit {

LayerTrial::LayerTrial(const QuantPlan& plan, bool allow_rounding)
    : kinds_(one_of_each(plan)), allow_rounding_(allow_rounding) {}

std::string LayerTrial::why_not(const Exporter& exporter, std::string_view variant, const LayerRecord& layer) const {
  if (exporter.info().wants_dequantized) return "it stores full-size weights and no codes";
  if (const Verdict verdict = exporter.supports(layer.plan, variant); !verdict) return verdict.why_not;
  const TensorMap packed = exporter.pack(layer, kinds_, variant);
  const QuantizedWeight back = exporter.unpack(layer.plan, packed, kinds_, variant);
  const GridDifference difference = compare_grids(layer.quantized, back, layer.plan.quant.weight);
  if (difference.exact()) return {};
  if (!difference.broken.empty()) return difference.broken;
  return allow_rounding_ ? std::string() : difference.words() + "; pass --allow_rounding to accept that";
}

}  // namespace arkit
