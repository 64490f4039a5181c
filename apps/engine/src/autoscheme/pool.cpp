#include "autoscheme/pool.h"

#include <set>

#include <arkit/str.h>

#include "quant/plan.h"

namespace arkit::auto_scheme {
namespace {

// Fills the options of one layer. Returns why the first quantizing one is refused when all are.
std::string offer(PoolLayer& layer, std::vector<bool>& offered, const LayerQuant& global,
                  std::span<const SchemeOption> options, const MayQuantize& may_quantize) {
  std::string refusal;
  bool any = false;
  for (const SchemeOption& option : options) {
    if (!option.quant.quantized()) {
      layer.quants.push_back(full_precision(global));
      offered.push_back(true);
      continue;
    }
    LayerPlan asked = layer.plan;
    asked.quant = option.quant;
    asked.quant.rotation = layer.plan.quant.rotation;
    const Verdict verdict = may_quantize(asked);
    layer.quants.push_back(verdict ? option.quant : full_precision(global, "fp"));
    offered.push_back(static_cast<bool>(verdict));
    any = any || verdict;
    if (refusal.empty()) refusal = verdict.why_not;
  }
  return any ? std::string() : refusal;
}

}  // namespace

Pool make_pool(const ModelLayout& layout, const QuantPlan& base, std::span<const SchemeOption> options,
               bool quant_lm_head, const MayQuantize& may_quantize) {
  std::set<std::string, std::less<>> kept;  // by the model itself
  for (const LayerPlan& layer : layout.linears())
    if (!layer.reason.empty()) kept.insert(layer.name);

  Pool pool;
  for (const LayerPlan& layer : base.layers) {
    const bool takes_part =
        (layer.block >= 0 || (quant_lm_head && !base.tied_embeddings)) && layer.kind != LayerKind::embedding;
    if (layer.user_fixed || (takes_part && kept.contains(layer.name))) {
      pool.pinned.push_back(layer);
      continue;
    }
    if (!takes_part) continue;
    PoolLayer entry{.plan = layer};
    std::vector<bool> offered;
    if (std::string refusal = offer(entry, offered, base.global, options, may_quantize); refusal.empty()) {
      pool.layers.push_back(std::move(entry));
      pool.offered.push_back(std::move(offered));
    } else {
      pool.refused.push_back({layer.name, std::move(refusal)});
      LayerPlan left = layer;
      left.quant = full_precision(base.global, "fp");
      pool.pinned.push_back(std::move(left));
    }
  }
  return pool;
}

}  // namespace arkit::auto_scheme
