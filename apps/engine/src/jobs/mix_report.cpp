// What AutoScheme says of itself: for --json, for arkit-run.json, for the layer_config it can write.
#include <algorithm>

#include <arkit/str.h>

#include "jobs/mix_search.h"
#include "quant/scheme_resolver.h"

namespace arkit {

using namespace auto_scheme;

json::Object MixSearch::describe() const {
  json::Array options;
  for (size_t o = 0; o < schemes_.size(); ++o)
    options.push_back(json::Object{{"name", schemes_[o].name},
                                   {"scheme", arkit::describe(schemes_[o].quant)},
                                   {"average_bits", range_.by_option[o].second}});
  const AutoSchemeOptions& wanted = options_.auto_scheme;
  const char* accounting = wanted.target_size                      ? "exact"
                           : wanted.ignore_scale_zp_bits           ? "codes only"
                           : wanted.bits_accounting == "autoround" ? "autoround"
                                                                   : "exact";
  json::Object described{
      {"options", std::move(options)}, {"accounting", accounting},      {"format", formats_.front().name},
      {"score", wanted.score},         {"layers", pool_.layers.size()}, {"pinned_layers", pool_.pinned.size()},
      {"groups", groups_.size()},      {"least_bits", range_.least},    {"most_bits", range_.most}};
  if (!calibration_.empty()) {
    described["scores_cached"] = scores_cached_;
    described["samples"] = calibration_;
  }
  if (!tuned_error_.empty()) described["tuned_error"] = tuned_error_;
  return described;
}

json::Object MixSearch::describe(const Mix& mix) const {
  std::vector<int64_t> counts(schemes_.size(), 0);
  for (const size_t option : mix.choice) ++counts[option];
  json::Object taken;
  for (size_t o = 0; o < schemes_.size(); ++o) taken[schemes_[o].name] = counts[o];
  json::Object described;
  if (mix.budget.avg_bits) described["avg_bits"] = *mix.budget.avg_bits;
  if (mix.budget.target_size) described["target_size"] = *mix.budget.target_size;
  described["average_bits"] = mix.average_bits;
  described["predicted_loss"] = mix.predicted_loss;
  if (mix.changed_by_tuning) described["layers_changed_by_tuning"] = *mix.changed_by_tuning;
  if (mix.measured_kl) described["measured_kl"] = *mix.measured_kl;
  if (mix.kl_before_refinement) {
    described["kl_before_refinement"] = *mix.kl_before_refinement;
    described["exchanges"] = mix.exchanges;
  }
  described["bytes"] = mix.bytes;
  if (!mix.optimal) described["optimal"] = false;
  described["layers_by_option"] = std::move(taken);
  // What rows that hold no whole blocks of their option get instead.
  json::Object others;
  for (size_t i = 0; i < mix.choice.size(); ++i) {
    const LayerQuant& quant = pool_.layers[i].quants[mix.choice[i]];
    if (!quant.quantized() || quant.weight == schemes_[mix.choice[i]].quant.weight) continue;
    json::Value& count = others[arkit::describe(quant)];
    count = (count.is_number() ? count.to_number<int64_t>() : 0) + 1;
  }
  if (!others.empty()) described["layers_in_other_types"] = std::move(others);
  return described;
}

}  // namespace arkit
