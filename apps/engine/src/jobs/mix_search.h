#pragma once
// AutoScheme on one model: what every layer may get and costs is found out once, losses are scored once, and any number
// of budgets are asked for (docs/spec/auto-scheme.md 1).

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <arkit/engine/jobs.h>

#include "autoscheme/allocation.h"
#include "autoscheme/pool.h"
#include "autoscheme/refine_meter.h"
#include "autoscheme/score.h"
#include "autoscheme/score_table.h"
#include "autoscheme/tuned_scores.h"
#include "jobs/export_set.h"
#include "jobs/export_size.h"
#include "jobs/planned_model.h"
#include "quant/plan.h"

namespace arkit {

// Of scoring, where nothing else is asked for (docs/spec/auto-scheme.md 2).
constexpr int64_t kScoreSamples = 16, kScoreBatch = 1;

// One budget: bits a weight, or bytes of the whole export.
struct MixBudget {
  std::optional<double> avg_bits;
  std::optional<int64_t> target_size;
  [[nodiscard]] std::string text() const;  // "4.5 bits", "3221225472 bytes"
};

// One option for every layer of the pool.
struct Mix {
  MixBudget budget;
  std::vector<size_t> choice;  // by layer of the pool
  double average_bits = 0.0;   // of pool and pinned layers, under the accounting
  double predicted_loss = 0.0;
  std::optional<double> measured_kl, kl_before_refinement;
  int64_t exchanges = 0;                     // of refinement, accepted
  std::optional<int64_t> changed_by_tuning;  // layers that tuned errors gave another option
  int64_t bytes = 0;                         // of the export, an upper bound
  bool optimal = true;                       // see ProgramResult
};

// The score that tunes layers where the choice is close, on top of the default one.
inline constexpr std::string_view kTunedScore = "tuned";

struct LossPoint {
  double average_bits = 0.0, predicted_loss = 0.0;
};

class MixSearch {
 public:
  // Opens the model and works out everything but losses. Throws ErrorCode::usage for contradicting options and budgets
  // out of reach, ErrorCode::unsupported for options that no layer or no chosen format takes.
  MixSearch(const QuantizeOptions& options, const Registry& registry, Reporter& reporter);

  // Can the samples of scoring be had? Throws what reading them throws.
  void check_samples() const;
  // Or takes the cached scores. Tunes layers where mixes of the budgets are close calls when that is the score.
  void score();
  // Needs score(). Refines when options.auto_scheme.refine_seconds is set, which measures the divergence too.
  [[nodiscard]] Mix solve(const MixBudget& budget, bool with_divergence);
  // Predicted loss over the whole range of budgets.
  [[nodiscard]] std::vector<LossPoint> curve(size_t points);

  [[nodiscard]] const std::vector<MixBudget>& budgets() const { return budgets_; }
  [[nodiscard]] const std::vector<auto_scheme::SchemeOption>& schemes() const { return schemes_; }
  [[nodiscard]] const auto_scheme::Pool& pool() const { return pool_; }
  [[nodiscard]] const auto_scheme::ScoreTable& table() const { return table_; }
  [[nodiscard]] const auto_scheme::Reach& range() const { return range_; }
  [[nodiscard]] const QuantPlan& base_plan() const { return planned_.plan; }
  [[nodiscard]] const ModelLayout& layout() const { return planned_.layout; }
  [[nodiscard]] const SourceState& source_state() const { return planned_.state; }
  [[nodiscard]] const Registry& registry() const { return registry_; }
  [[nodiscard]] const ModelSource& source() const { return *planned_.source; }
  [[nodiscard]] const std::vector<FormatChoice>& formats() const { return formats_; }

  // What build_plan makes of it.
  [[nodiscard]] ResolvedScheme scheme_of(const Mix& mix) const;
  [[nodiscard]] LayerChoices choices_of(const Mix& mix) const;
  // Rotates the source as this plan wants it, if it is rotated at all.
  [[nodiscard]] QuantPlan plan_of(const Mix& mix) const;
  // The options to plan with: the base option has the overrides already.
  [[nodiscard]] const QuantizeOptions& planning_options() const { return planning_; }

  // For --json and arkit-run.json.
  [[nodiscard]] json::Object describe() const;
  [[nodiscard]] json::Object describe(const Mix& mix) const;

 private:
  [[nodiscard]] ResolvedTuning scoring() const;  // what a recipe and the options say, samples of scoring included
  void open();
  void check_formats();
  [[nodiscard]] Refiners refiners() const;
  void ask_formats_to_refine();
  void pin_refined(auto_scheme::Pool& pool) const;
  [[nodiscard]] Verdict may_quantize(const LayerPlan& layer) const;
  void report_refused();
  void check_budgets();
  // Bits the groups may take so that the export keeps to `target`, from the size of the mix at hand.
  [[nodiscard]] int64_t bytes_of(const std::vector<auto_scheme::ChoiceGroup>& groups);
  // The choices of least loss; is that certain? See ProgramResult::optimal.
  [[nodiscard]] bool solve_groups(const MixBudget& budget, const auto_scheme::ScoreTable& table,
                                  std::vector<auto_scheme::ChoiceGroup>& groups);
  [[nodiscard]] bool solve_target(int64_t target, const auto_scheme::ScoreTable& table,
                                  std::vector<auto_scheme::ChoiceGroup>& groups);
  void measure(const MixBudget& budget, std::vector<auto_scheme::ChoiceGroup>& groups, Mix& mix);
  [[nodiscard]] Mix mix_of(const MixBudget& budget, const std::vector<auto_scheme::ChoiceGroup>& groups, bool optimal);

  // --score tuned, in mix_rescore.cpp.
  void rescore(const std::string& score_key);
  [[nodiscard]] std::set<auto_scheme::GroupOption> close_to_price();
  [[nodiscard]] auto_scheme::TunedRatios measured_ratios(const std::set<auto_scheme::GroupOption>& wanted,
                                                         const std::string& score_key);
  [[nodiscard]] int64_t ratio_bytes() const;
  [[nodiscard]] int64_t changed_by_tuning(const MixBudget& budget, const std::vector<auto_scheme::ChoiceGroup>& groups);

  const QuantizeOptions& options_;
  const Registry& registry_;
  Reporter& reporter_;
  std::vector<auto_scheme::SchemeOption> schemes_;
  QuantizeOptions planning_;
  std::vector<MixBudget> budgets_;
  std::vector<FormatChoice> formats_;
  bool mixes_freely_ = false;  // they do: see free_mix.h
  PlannedModel planned_;
  // Options that a format would change where a layer had them, by option and layer, with who changes it.
  std::vector<std::map<std::string, std::string, std::less<>>> changed_by_;
  at::ScalarType dtype_ = at::kFloat;  // of the model's forwards
  std::unique_ptr<Model> model_;
  auto_scheme::Pool pool_;
  auto_scheme::Costs costs_;
  std::vector<auto_scheme::ChoiceGroup> groups_;
  auto_scheme::Reach range_;
  std::optional<ExportSizer> sizer_;
  auto_scheme::ScoreTable table_;
  std::optional<auto_scheme::ScoreTable> rounded_;  // table_ before tuning changed it
  json::Object tuned_error_;                        // empty = nothing was tuned
  bool scores_cached_ = false;
  std::optional<auto_scheme::KlMeter> meter_;  // made for the first measurement
  SchemeFor scheme_for_;
  at::Tensor samples_;  // int64 [nsamples, seqlen]
  json::Object calibration_;
};

}  // namespace arkit
