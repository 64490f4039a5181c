#include "autoscheme/score.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/str.h>

#include "autoscheme/score_compat.h"
#include "autoscheme/score_experts.h"
#include "autoscheme/score_fisher.h"
#include "autoscheme/score_pass.h"
#include "util/tensor_cache.h"

namespace arkit::auto_scheme {
namespace {

bool quantizes_anything(std::span<const PoolLayer> pool, size_t option) {
  return std::any_of(pool.begin(), pool.end(),
                     [&](const PoolLayer& layer) { return layer.quants[option].quantized(); });
}

ScoreTable empty_table(std::span<const PoolLayer> pool, std::span<const SchemeOption> options) {
  ScoreTable table;
  for (const SchemeOption& option : options) table.options.push_back(option.name);
  for (const PoolLayer& layer : pool) {
    ARKIT_CHECK(layer.quants.size() == options.size(),
                str("layer '", layer.plan.name, "' must say what each option is"));
    table.layers.push_back(layer.plan.name);
    table.loss.emplace_back(options.size(), 0.0);
  }
  return table;
}

void check_finite(const ScoreTable& table) {
  for (size_t layer = 0; layer < table.layers.size(); ++layer)
    for (size_t option = 0; option < table.options.size(); ++option)
      if (!std::isfinite(table.loss[layer][option]))
        throw_input(str("the score of '", table.layers[layer], "' under ", table.options[option],
                        " is not finite; the model's weights are damaged or its activations overflow ",
                        "(try --amp_dtype float32)"));
}

}  // namespace

ScoreMode parse_score_mode(std::string_view name) {
  if (name == "default" || name == "tuned") return ScoreMode::standard;
  if (name == "compat") return ScoreMode::compat;
  throw_usage(str("score '", name, "' is unknown; expected default, tuned or compat"));
}

ScoreTable score_options(Model& model, const at::Tensor& input_ids, std::span<const PoolLayer> pool,
                         std::span<const SchemeOption> options, const ScoreSettings& settings,
                         const SchemeFor& scheme_for, Reporter& reporter) {
  const TensorCacheScope reuse;
  ScoreTable table = empty_table(pool, options);
  if (settings.mode == ScoreMode::standard) {
    ScorePass pass(model, input_ids,
                   {.labels = Labels::sampled,
                    .batch_size = std::max<int64_t>(1, kBatchTokens / input_ids.size(1)),
                    .kept_dtype = at::kBFloat16,
                    .seed = settings.seed},
                   reporter);
    FisherScore score(model, pool, input_ids, settings, scheme_for, table);
    pass.run(score, "scoring");
  } else {
    for (size_t option = 0; option < options.size(); ++option) {
      if (!quantizes_anything(pool, option)) continue;
      ScorePass pass(model, input_ids, {.labels = Labels::next_token, .batch_size = settings.batch_size}, reporter);
      CompatScore score(model, pool, option, scheme_for, table);
      pass.run(score, str("scoring ", options[option].name).c_str());
    }
  }
  fill_inactive_experts(pool, table);
  check_finite(table);
  return table;
}

}  // namespace arkit::auto_scheme
