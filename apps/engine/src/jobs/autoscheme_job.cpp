// `arkit autoscheme`: the best mix of schemes for each of several budgets, what it is predicted and measured to cost,
// and how large the export would be. Writes no export.
#include <chrono>

#include <arkit/engine/jobs.h>
#include <arkit/error.h>
#include <arkit/str.h>

#include "util/seconds.h"

#include "jobs/mix_decision.h"
#include "jobs/option_effects.h"
#include "jobs/plan_refinement.h"
#include "jobs/rehearsal.h"

namespace arkit {
namespace {

using Clock = std::chrono::steady_clock;

json::Array layers_of(const MixSearch& search, const std::vector<Mix>& mixes) {
  json::Array layers;
  for (size_t i = 0; i < search.pool().layers.size(); ++i) {
    const LayerPlan& plan = search.pool().layers[i].plan;
    json::Object entry{{"name", plan.name}, {"block", plan.block}, {"weights", plan.out_features * plan.in_features}};
    json::Array schemes, losses;
    for (const Mix& mix : mixes) schemes.emplace_back(search.schemes()[mix.choice[i]].name);
    for (const double loss : search.table().loss[i]) losses.emplace_back(loss);
    entry["schemes"] = std::move(schemes);
    entry["losses"] = std::move(losses);
    layers.push_back(std::move(entry));
  }
  return layers;
}

json::Array pinned_of(const MixSearch& search) {
  json::Array pinned;
  for (const LayerPlan& layer : search.pool().pinned)
    pinned.push_back(json::Object{{"name", layer.name}, {"scheme", describe(layer.quant)}, {"reason", layer.reason}});
  return pinned;
}

}  // namespace

json::Object autoscheme(const QuantizeOptions& options, const Registry& registry, Reporter& reporter) {
  const auto start = Clock::now();
  const AutoSchemeOptions& wanted = options.auto_scheme;
  if (wanted.options.empty()) throw_usage("options: list the schemes to choose from, for example W4A16,W8A16");
  if (!wanted.save_layer_config.empty() && wanted.avg_bits.size() > 1)
    throw_usage("save_layer_config writes one mix; give one budget with it");
  check_options(options, reporter);
  (void)scheme_of(options, registry);  // a format that stands for one leaves nothing to decide
  (void)rehearse(options.model, reporter, [&](const std::string& model, Reporter& quiet) {
    QuantizeOptions there = options;
    there.model = model;
    MixSearch(there, registry, quiet).check_samples();
  });
  reporter.step("reading the model");
  MixSearch search(options, registry, reporter);
  const auto scoring = Clock::now();
  search.score();
  const double scored = seconds_since(scoring);
  std::vector<Mix> mixes;
  for (const MixBudget& budget : search.budgets()) mixes.push_back(search.solve(budget, true));
  mix_files(search, mixes, options).publish(reporter);

  json::Object result{{"model", options.model}};
  for (auto& [key, value] : search.describe()) result[key] = std::move(value);
  json::Array budgets, curve;
  for (const Mix& mix : mixes) budgets.push_back(search.describe(mix));
  for (const LossPoint& point : search.curve(24))
    curve.push_back(json::Array{point.average_bits, point.predicted_loss});
  result["budgets"] = std::move(budgets);
  result["curve"] = std::move(curve);
  result["mix"] = layers_of(search, mixes);
  result["pinned"] = pinned_of(search);
  result["score_seconds"] = scored;
  result["seconds"] = seconds_since(start);
  return result;
}

}  // namespace arkit
