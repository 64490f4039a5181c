#pragma once
// A tiny golden model with a pool of all its linear layers.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include <arkit/engine/jobs.h>
#include <arkit/model_adapter.h>
#include <arkit/registry.h>

#include "autoscheme/refine_meter.h"
#include "autoscheme/score.h"
#include "quant/scheme_resolver.h"

namespace arkit::auto_scheme::testing {

inline const Registry& registry() {
  static const Registry instance(PluginSearch{.folders = {ARKIT_PLUGIN_BUILD_DIR}});
  return instance;
}

// Integer schemes get groups of 32, which divide the tiny models' layers.
inline SchemeOption option(const std::string& name) {
  LayerQuant quant = resolve_preset(name, registry()).quant;
  if (quant.weight.data_type == "int" && quant.weight.bits < 16 && quant.weight.group_size > 0)
    quant.weight.group_size = 32;
  return {name, quant};
}

struct ScoredModel {
  ScoredModel(const std::string& name, std::vector<SchemeOption> given, bool with_head = false)
      : options(std::move(given)),
        source(open_source(std::string(ARKIT_TEST_DATA) + "/models/" + name, registry())),
        model(adapter_for(*source, registry()).open(*source, at::kFloat)) {
    for (const LayerPlan& plan : model->linears()) {
      if (plan.block < 0 && !with_head) continue;
      pool.push_back({plan, {}});
      for (const SchemeOption& o : options) pool.back().quants.push_back(o.quant);
    }
    ids = at::empty({16, 32}, at::kLong);
    for (int64_t i = 0; i < ids.numel(); ++i) ids.mutable_data_ptr<int64_t>()[i] = (i * 7919 + i * i % 31) % 251;
  }

  [[nodiscard]] ScoreTable score(ScoreSettings settings = {}) {
    return score_options(*model, ids, pool, options, settings, scheme_for, reporter);
  }
  [[nodiscard]] KlMeter meter() { return KlMeter(*model, ids, pool, scheme_for, reporter); }

  std::vector<SchemeOption> options;
  std::unique_ptr<ModelSource> source;
  std::unique_ptr<Model> model;
  std::vector<PoolLayer> pool;
  at::Tensor ids;
  SchemeFor scheme_for = schemes_of(registry());
  Reporter reporter;
};

}  // namespace arkit::auto_scheme::testing
