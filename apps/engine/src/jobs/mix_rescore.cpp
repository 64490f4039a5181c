// --score tuned: where the program's choice is close, the error of the tuned layer takes the place of the rounding
// error, and the program is asked again (ADR 0020).
#include <chrono>
#include <cmath>
#include <set>
#include <utility>

#include <arkit/error.h>
#include <arkit/str.h>

#include "autoscheme/tuned_ratio.h"
#include "jobs/mix_search.h"
#include "options/option_json.h"
#include "quant/recipes.h"
#include "util/seconds.h"

namespace arkit {
namespace {

using namespace auto_scheme;

double four_digits(double x) {
  constexpr double kScale = 1e4;
  return std::round(x * kScale) / kScale;
}

}  // namespace

std::set<GroupOption> MixSearch::close_to_price() {
  std::set<GroupOption> close;
  for (const MixBudget& budget : budgets_) {
    std::vector<ChoiceGroup> groups = groups_;
    (void)solve_groups(budget, table_, groups);
    const double price = marginal_price(program_groups(groups, table_), chosen_bits(groups));
    close.merge(close_options(groups, table_, price));
  }
  return close;
}

TunedRatios MixSearch::measured_ratios(const std::set<GroupOption>& wanted, const std::string& score_key) {
  const auto start = std::chrono::steady_clock::now();
  const RatioSettings settings = RatioSettings::of_run(tune_options(resolve_tuning(options_.recipe, options_.tuning)),
                                                       static_cast<uint64_t>(options_.tuning.seed));
  const bool cached = options_.auto_scheme.use_cache;
  // With every option of tuning, so that none can be forgotten; one that does not matter here costs a second pass.
  const std::string key = score_key + json::dump(describe_options(options_, OptionNeeds::tuning));
  const RatioCache cache(options_.auto_scheme.cache_dir, key, settings, pool_.layers, schemes_.size());
  TunedRatios known = cached ? cache.load(reporter_) : TunedRatios();
  TunedRatios ratios;
  std::vector<LayerOption> missing;
  for (const GroupOption& entry : wanted)
    for (const LayerOption& member : tuned_members(groups_[entry.group], entry.option, pool_.layers))
      if (const auto found = known.find(member); found != known.end())
        ratios.insert(*found);
      else
        missing.push_back(member);
  const size_t taken = ratios.size();
  if (missing.empty()) {
    reporter_.info(str("tuned errors are taken from '", cache.file().string(), "'"));
  } else {
    reporter_.step(str("tuning ", missing.size(), " options of layers for ", settings.tune.iters, " iterations"));
    ratios.merge(tuned_ratios(*model_, samples_, pool_.layers, missing, settings, scheme_for_, reporter_));
    known.insert(ratios.begin(), ratios.end());
    if (cached) cache.store(known, reporter_);
  }
  tuned_error_ = {{"iters", settings.tune.iters},
                  {"options_tuned", missing.size()},
                  {"options_cached", taken},
                  {"seconds", seconds_since(start)}};
  return ratios;
}

void MixSearch::rescore(const std::string& score_key) {
  std::set<GroupOption> wanted = close_to_price();
  if (wanted.empty()) {
    reporter_.info("no choice of the mix is close: the scores of rounding decide");
    return;
  }
  std::set<size_t> groups;
  for (const GroupOption& entry : wanted) groups.insert(entry.group);
  add_typical(wanted, groups_, pool_.layers);
  const TunedRatios ratios = measured_ratios(wanted, score_key);
  TunedScores tuned = apply_ratios(table_, groups_, pool_.layers, wanted, ratios);
  rounded_ = std::exchange(table_, std::move(tuned.table));

  json::Object typical, layers;
  for (size_t o = 0; o < schemes_.size(); ++o) typical[schemes_[o].name] = four_digits(tuned.typical[o]);
  for (const auto& [entry, ratio] : ratios) {
    json::Value& row = layers[pool_.layers[entry.layer].plan.name];
    if (!row.is_object()) row = json::Object();
    row.get_object()[schemes_[entry.option].name] = ratio ? json::Value(four_digits(*ratio)) : json::Value();
  }
  tuned_error_["close_groups"] = groups.size();
  tuned_error_["typical_ratios"] = std::move(typical);
  tuned_error_["ratios"] = std::move(layers);
}

// Every line that describe() may give arkit-run.json about ratios, with its indentation.
int64_t MixSearch::ratio_bytes() const {
  constexpr size_t kLine = 64;
  if (options_.auto_scheme.score != kTunedScore) return 0;
  size_t option_lines = 0, bytes = 0;
  for (const SchemeOption& option : schemes_) option_lines += option.name.size() + kLine;
  for (const PoolLayer& layer : pool_.layers) bytes += layer.plan.name.size() + 2 * kLine + option_lines;
  return static_cast<int64_t>(bytes + option_lines + 8 * kLine);
}

int64_t MixSearch::changed_by_tuning(const MixBudget& budget, const std::vector<ChoiceGroup>& groups) {
  std::vector<ChoiceGroup> before = groups_;
  (void)solve_groups(budget, *rounded_, before);
  int64_t changed = 0;
  for (size_t g = 0; g < groups.size(); ++g)
    if (groups[g].choice != before[g].choice) changed += static_cast<int64_t>(groups[g].layers.size());
  return changed;
}

}  // namespace arkit
