#include "autoscheme/pool.h"

#include <set>

#include <arkit/str.h>

#include "quant/plan.h"

namespace arkit::auto_scheme {
namespace {

// Fills the options of one layer. Returns why the first quantizing one is refused when all are.
std::string offer(PoolLayer& layer, std::vector<bool>& offered, const LayerQuant& global,
                  std::span<const SchemeOption> options, const MayQuantize& may_quantize, const WholeModel* whole) {
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
    if (whole != nullptr) {
      const LayerQuant fitting = whole->fitting(asked);
      if (fitting.quantized()) asked.quant = fitting;  // else may_quantize says why not
    }
    const Verdict verdict = may_quantize(asked);
    if (verdict) asked.quant.rotation = option.quant.rotation;
    layer.quants.push_back(verdict ? asked.quant : full_precision(global, "fp"));
    offered.push_back(static_cast<bool>(verdict));
    any = any || verdict;
    if (refusal.empty()) refusal = verdict.why_not;
  }
  return any ? std::string() : refusal;
}

}  // namespace

Pool make_pool(const ModelLayout& layout, const QuantPlan& base, std::span<const SchemeOption> options,
               bool quant_lm_head, const MayQuantize& may_quantize, const WholeModel* whole) {
  std::set<std::string, std::less<>> kept;  // by the model itself
  for (const LayerPlan& layer : layout.linears())
    if (!layer.reason.empty()) kept.insert(layer.name);

  std::vector<LayerPlan> layers;
  if (whole != nullptr && whole->table && base.find(whole->table->name) == nullptr) layers.push_back(*whole->table);
  layers.insert(layers.end(), base.layers.begin(), base.layers.end());

  Pool pool;
  for (const LayerPlan& layer : layers) {
    const bool is_table = layer.kind == LayerKind::embedding;
    const bool head_takes_part = (quant_lm_head || whole != nullptr) && !base.tied_embeddings;
    const bool takes_part = is_table ? whole != nullptr : layer.block >= 0 || head_takes_part;
    if (layer.user_fixed || (takes_part && kept.contains(layer.name))) {
      pool.pinned.push_back(layer);
      continue;
    }
    if (!takes_part) continue;
    PoolLayer entry{.plan = layer};
    std::vector<bool> offered;
    if (std::string refusal = offer(entry, offered, base.global, options, may_quantize, whole); refusal.empty()) {
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
