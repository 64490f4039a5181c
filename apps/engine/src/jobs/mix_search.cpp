// What AutoScheme knows before and after scoring; solving is in mix_solve.cpp, telling about it in mix_report.cpp.
#include "jobs/mix_search.h"

#include <algorithm>
#include <map>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/scheme.h>
#include <arkit/str.h>

#include "autoscheme/groups.h"
#include "autoscheme/options.h"
#include "autoscheme/score_cache.h"
#include "jobs/calibrate.h"
#include "jobs/importance.h"
#include "jobs/source_hashes.h"
#include "quant/embedding_tables.h"
#include "quant/format_lookup.h"
#include "quant/free_formats.h"
#include "quant/recipes.h"
#include "quant/runtime_rules.h"
#include "quant/scheme_traits.h"

namespace arkit {
namespace {

using namespace auto_scheme;

// Tokens of a sample of scoring (docs/spec/auto-scheme.md 2); mixtures of experts get half of them.
constexpr int64_t kLength = 256;

std::vector<MixBudget> wanted_budgets(const AutoSchemeOptions& options) {
  if (options.avg_bits.empty() == !options.target_size.has_value())
    throw_usage(options.avg_bits.empty() ? "AutoScheme needs a budget: --avg_bits 4.5, or --target_size 3GiB"
                                         : "avg_bits and target_size are both budgets; give one of them");
  if (options.target_size) return {{.avg_bits = {}, .target_size = options.target_size}};
  std::vector<MixBudget> budgets;
  for (const double bits : options.avg_bits) budgets.push_back({.avg_bits = bits, .target_size = {}});
  return budgets;
}

Accounting accounting_of(const AutoSchemeOptions& options) {
  if (options.bits_accounting != "exact" && options.bits_accounting != "autoround")
    throw_usage(str("bits_accounting '", options.bits_accounting, "' is unknown; expected exact or autoround"));
  if (options.target_size) return Accounting::exact;
  if (options.ignore_scale_zp_bits) return Accounting::codes_only;
  return options.bits_accounting == "autoround" ? Accounting::autoround : Accounting::exact;
}

// What the plan is called that mixes start from: no preset's name, for which formats have rules of their own.
constexpr const char* kBaseName = "AutoScheme";

// "GGUF:Q4_K" beside --format auto_round.
void refuse_other_formats(const std::vector<SchemeOption>& options, const std::vector<FormatChoice>& formats,
                          const Registry& registry) {
  constexpr int64_t kWide = 4096;  // whole blocks of everything
  for (const SchemeOption& option : options) {
    const std::string named = format_in_name(option.name, registry);
    if (named.empty()) continue;
    const LayerPlan layer{
        .name = "layer", .out_features = kWide, .in_features = kWide, .block = 0, .quant = option.quant};
    for (const FormatChoice& format : formats)
      if (!format.exporter->supports(layer, format.name))
        throw_usage(str("option '", option.name, "' is written by format '", named, "' and --format asks for '",
                        format.name, "'; leave --format out, choose --format ", named, ", or other options"));
  }
}

bool gives_table_options(const Pool& pool) {
  return std::any_of(pool.layers.begin(), pool.layers.end(),
                     [](const PoolLayer& layer) { return layer.plan.kind == LayerKind::embedding; });
}

bool has_experts(const Pool& pool) {
  return std::any_of(pool.layers.begin(), pool.layers.end(), [](const PoolLayer& layer) {
    return layer.plan.kind == LayerKind::expert || !layer.plan.experts.empty();
  });
}

}  // namespace

std::string MixBudget::text() const {
  return avg_bits ? str(*avg_bits, " bits") : str(target_size.value_or(0), " bytes");
}

MixSearch::MixSearch(const QuantizeOptions& options, const Registry& registry, Reporter& reporter)
    : options_(options), registry_(registry), reporter_(reporter), scheme_for_(schemes_of(registry_)) {
  if (!options.recipe_file.empty())
    throw_usage("a recipe file states the scheme of every layer; leave it out, or the options of AutoScheme");
  budgets_ = wanted_budgets(options.auto_scheme);
  const Accounting accounting = accounting_of(options.auto_scheme);
  (void)parse_score_mode(options.auto_scheme.score);
  if (options.auto_scheme.score == kTunedScore && resolve_tuning(options.recipe, options.tuning).iters == 0)
    throw_usage("score tuned predicts losses after tuning, and with iters 0 nothing is tuned; use score default");
  schemes_ = resolve_options(options, registry, reporter);
  planning_ = options;
  planning_.overrides = {};
  refuse_idle_activations(
      options.overrides,
      std::any_of(schemes_.begin(), schemes_.end(), [](const SchemeOption& o) { return o.quant.act.quantized(); }),
      "every option");
  formats_ = find_formats(options.formats, false, options.output_dir, registry, format_words(options.format_options));
  refuse_other_formats(schemes_, formats_, registry);
  mixes_freely_ = mix_freely(options.formats, registry);
  open();
  check_source(formats_, planned_.plan, *planned_.source);
  if (gives_table_options(pool_) && parse_score_mode(options.auto_scheme.score) == ScoreMode::compat)
    throw_usage(str("score compat knows no embeddings, and format '", formats_.front().name,
                    "' gives them one of the options; use score default"));
  const SchemeOption& base = base_option(schemes_);
  const CostModel model(accounting, *formats_.front().exporter, formats_.front().name, planned_.source->weights());
  costs_ = count_costs(pool_, model);
  const GroupOptions sharing{.shared_layers = options.auto_scheme.shared_layers,
                             .share_fused_layers = options.auto_scheme.share_fused_layers && !mixes_freely_,
                             .allow_unmatched = options.allow_unmatched};
  groups_ = make_groups(share_layers(pool_, sharing, reporter), costs_);
  range_ = reach(groups_, costs_, schemes_);
  RunRecord run;
  if (mixes_freely_ && !options.imatrix.empty())
    run.importance = importance_record(options, importance_matrix(options, planned_.source->config(), registry));
  sizer_.emplace(formats_.front(), *planned_.source, registry, options.max_shard_bytes, std::move(run));
  check_formats();
  check_budgets();
  reporter.info(str("AutoScheme: ", pool_.layers.size(), " layers in ", groups_.size(), " groups, ", schemes_.size(),
                    " options, ", range_.text(), "; the mix starts from ", base.name));
}

// The model with the base option everywhere, which says what the user, the model and the shapes keep from changing.
void MixSearch::open() {
  const SchemeOption& base = base_option(schemes_);
  QuantizeOptions through_family = planning_;
  through_family.model_free = false;  // losses need a forward pass, whatever rounds later
  through_family.attention = {};
  ResolvedTuning tuning = resolve_tuning(options_.recipe, options_.tuning);
  tuning.options.enable_neuqi = false;  // a matter of the mix's plan; losses are predicted without it
  Reporter quiet;                       // the base plan is nobody's plan; warnings come with the mix
  planned_ = plan_model(through_family, tuning, {kBaseName, base.quant, std::nullopt}, nullptr, registry_, quiet);
  dtype_ = choose_dtype(options_.tuning, true);
  model_ = open_model(planned_, dtype_, registry_);
  ask_formats_to_refine();
  WholeModel whole{.table = token_table(planned_.layout), .fitting = {}};
  if (mixes_freely_)
    whole.fitting = [&format = formats_.front()](const LayerPlan& layer) {
      return free_mix_of(*format.exporter)->fitting(layer, format.name);
    };
  Pool pool = make_pool(
      planned_.layout, planned_.plan, schemes_, options_.quant_lm_head,
      [this](const LayerPlan& layer) { return may_quantize(layer); }, mixes_freely_ ? &whole : nullptr);
  const auto left_out = [this](const LayerPlan& layer) {
    return layer.block >= 0 && !in_chosen_blocks(layer, options_.to_quant_block_names);
  };
  std::erase_if(pool.pinned, left_out);
  for (size_t i = pool.layers.size(); i-- > 0;) {
    if (!left_out(pool.layers[i].plan)) continue;
    pool.layers.erase(pool.layers.begin() + static_cast<std::ptrdiff_t>(i));
    pool.offered.erase(pool.offered.begin() + static_cast<std::ptrdiff_t>(i));
  }
  pin_refined(pool);
  pool_ = std::move(pool);
  report_refused();
}

Refiners MixSearch::refiners() const {
  return {.formats = formats_,
          .source = *planned_.source,
          .registry = registry_,
          .on_indivisible = options_.on_indivisible,
          .importance = !options_.imatrix.empty()};
}

// What formats make of plans that have one option everywhere.
void MixSearch::ask_formats_to_refine() {
  const LayerQuant base = base_option(schemes_).quant;
  for (const SchemeOption& option : schemes_) {
    QuantPlan plan = planned_.plan;
    for (LayerPlan& layer : plan.layers)
      if (!layer.user_fixed && layer.quant.weight == base.weight) layer.quant = option.quant;
    std::map<std::string, std::string, std::less<>>& changed = changed_by_.emplace_back();
    for (const RefinedLayer& layer : refine_plan(plan, refiners()))
      changed[layer.layer] = str("format '", layer.format, "' makes it ", arkit::describe(layer.after),
                                 layer.reason.empty() ? "" : str(" (", layer.reason, ")"));
  }
}

// What a format has decided is not the program's to decide, and counts.
void MixSearch::pin_refined(Pool& pool) const {
  for (const RefinedLayer& refined : planned_.refined) {
    const auto is_it = [&](const LayerPlan& layer) { return layer.name == refined.layer; };
    const auto found =
        std::find_if(pool.layers.begin(), pool.layers.end(), [&](const PoolLayer& layer) { return is_it(layer.plan); });
    if (found != pool.layers.end()) {
      pool.offered.erase(pool.offered.begin() + (found - pool.layers.begin()));
      pool.layers.erase(found);
    }
    std::erase_if(pool.refused, [&](const Pool::Refused& layer) { return layer.name == refined.layer; });
    std::erase_if(pool.pinned, is_it);
    pool.pinned.push_back(*planned_.plan.find(refined.layer));
  }
}

Verdict MixSearch::may_quantize(const LayerPlan& layer) const {
  for (size_t o = 0; o < schemes_.size(); ++o) {
    if (layer.quant.weight != schemes_[o].quant.weight || layer.quant.act != schemes_[o].quant.act) continue;
    if (const auto changed = changed_by_[o].find(layer.name); changed != changed_by_[o].end())
      return Verdict::no(changed->second);
  }
  if (Verdict verdict = fits_shape(layer, options_.on_indivisible, registry_); !verdict) return verdict;
  for (const FormatChoice& format : formats_)
    if (Verdict verdict = format.exporter->supports(layer, format.name); !verdict)
      return Verdict::no(str("format '", format.name, "': ", verdict.why_not));
  return Verdict::yes();
}

void MixSearch::report_refused() {
  std::map<std::string, std::vector<std::string>> by_reason;
  for (const Pool::Refused& layer : pool_.refused) by_reason[layer.reason].push_back(layer.name);
  if (pool_.layers.empty() && pool_.refused.empty())
    throw_usage("no layer is left to choose a scheme for; all are ignored, or set by layer_config");
  if (pool_.layers.empty())
    throw_unsupported(str("no option fits any layer, for example '", pool_.refused.front().name,
                          "': ", pool_.refused.front().reason));
  for (const auto& [reason, names] : by_reason)
    reporter_.warn(str(names.size(), names.size() == 1 ? " layer fits" : " layers fit", " no option (first '",
                       names.front(), "'): ", reason, ": kept in 16 bits"));
  for (size_t o = 0; o < schemes_.size(); ++o) {
    if (std::any_of(pool_.offered.begin(), pool_.offered.end(), [o](const auto& row) { return row[o]; })) continue;
    if (pool_.layers.empty()) continue;
    LayerPlan layer = pool_.layers.front().plan;
    layer.quant = schemes_[o].quant;
    throw_unsupported(str("option '", schemes_[o].name, "' fits no layer, for example '", layer.name,
                          "': ", may_quantize(layer).why_not));
  }
}

// Can the formats hold several of the options in one file? Asked of a plan that has all of them, before the long work.
void MixSearch::check_formats() {
  QuantPlan plan = planned_.plan;
  std::map<std::string, const LayerQuant*> mixed;
  for (size_t g = 0; g < groups_.size(); ++g) {
    size_t o = g % schemes_.size();
    while (groups_[g].bits[o] >= kNotOffered) o = (o + 1) % schemes_.size();
    for (const size_t i : groups_[g].layers) mixed[pool_.layers[i].plan.name] = &pool_.layers[i].quants[o];
  }
  for (LayerPlan& layer : plan.layers)
    if (const auto found = mixed.find(layer.name); found != mixed.end()) layer.quant = *found->second;
  for (const FormatChoice& format : formats_)
    if (const Verdict verdict = format.exporter->supports_plan(plan, format.name); !verdict)
      throw_unsupported(str("format '", format.name, "' cannot hold a mix of these options: ", verdict.why_not));
  if (options_.runtime.empty()) return;
  const std::vector<std::string> fused =
      fused_violations(plan, std::vector<RuntimeRules>{find_runtime(options_.runtime)});
  if (!fused.empty())
    throw_unsupported(str("runtime '", options_.runtime, "': ", fused.front(),
                          "; let AutoScheme share fused layers, or name them in --shared_layers"));
}

void MixSearch::check_budgets() {
  for (const MixBudget& budget : budgets_) {
    if (budget.avg_bits) {
      (void)group_budget(*budget.avg_bits, groups_, costs_, range_);
      continue;
    }
    std::vector<ChoiceGroup> extreme = groups_;
    choose_cheapest(extreme);
    const int64_t least = bytes_of(extreme);
    if (*budget.target_size >= least) continue;
    for (ChoiceGroup& group : extreme)
      for (size_t o = 0; o < group.bits.size(); ++o)
        if (group.bits[o] < kNotOffered && group.bits[o] > group.bits[group.choice]) group.choice = o;
    throw_usage(str("target_size ", *budget.target_size, " cannot be reached: with these options the export takes ",
                    least, " to ", bytes_of(extreme), " bytes; choose a size in between, or smaller options"));
  }
}

ResolvedTuning MixSearch::scoring() const {
  const AutoSchemeOptions& wanted = options_.auto_scheme;
  ResolvedTuning settings = resolve_tuning(options_.recipe, options_.tuning);
  settings.nsamples = wanted.nsamples.value_or(kScoreSamples);
  settings.seqlen = wanted.seqlen.value_or(has_experts(pool_) ? kLength / 2 : kLength);
  settings.batch_size = wanted.batch_size.value_or(kScoreBatch);
  if (settings.nsamples < 1 || settings.seqlen < 2 || settings.batch_size < 1)
    throw_usage("scoring needs at least one sample of two tokens, and a batch of one");
  return settings;
}

void MixSearch::check_samples() const {
  Reporter quiet;
  arkit::check_samples(options_, scoring(), *planned_.source, planned_.layout, quiet);
}

void MixSearch::score() {
  const AutoSchemeOptions& wanted = options_.auto_scheme;
  const ResolvedTuning settings = fit_to_model(scoring(), planned_.layout, *planned_.source, reporter_);
  const bool two_bits = std::any_of(schemes_.begin(), schemes_.end(), [](const SchemeOption& option) {
    return option.quant.weight.bits <= 2 && option.quant.weight.super_bits == 0;
  });
  if (two_bits && (settings.nsamples < 128 || settings.seqlen < 1024))
    reporter_.info(str("2-bit options are scored better with --score_nsamples 128 --score_seqlen 1024 (now ",
                       settings.nsamples, " x ", settings.seqlen, ")"));
  const Samples samples = read_samples(options_, settings, *planned_.source, *model_, registry_, reporter_);
  samples_ = samples.set.input_ids;
  calibration_ = samples.set.report();
  const ScoreSettings scoring{.mode = parse_score_mode(wanted.score),
                              .batch_size = settings.batch_size,
                              .seed = static_cast<uint64_t>(options_.tuning.seed),
                              .logit_divisor = planned_.layout.tokens.logit_divisor,
                              .logit_softcap = planned_.layout.tokens.logit_softcap};
  const std::vector<std::filesystem::path> files = weight_files(*planned_.source, std::nullopt);
  const ScoreInputs inputs{.source = *planned_.source,
                           .weight_files = files,
                           .input_ids = samples_,
                           .pool = pool_.layers,
                           .options = schemes_,
                           .settings = scoring,
                           .compute_dtype = dtype_,
                           .variant = str(options_.rotation, " ", options_.num_hidden_layers.value_or(-1))};
  std::optional<ScoreCache> cache;  // its key takes a reading of all weights
  if (wanted.use_cache) cache.emplace(wanted.cache_dir, inputs);
  if (std::optional<ScoreTable> known = cache ? cache->load(reporter_) : std::nullopt) {
    table_ = std::move(*known);
    scores_cached_ = true;
    reporter_.info(str("scores are taken from '", cache->file().string(), "'"));
  } else {
    reporter_.step(str("scoring ", pool_.layers.size(), " layers, ", schemes_.size(), " options"));
    table_ = score_options(*model_, samples_, pool_.layers, schemes_, scoring, scheme_for_, reporter_);
    if (cache) cache->store(table_, reporter_);
  }
  if (wanted.score == kTunedScore) rescore(cache ? cache->key() : std::string());
}

ResolvedScheme MixSearch::scheme_of(const Mix& mix) const {
  char name[48];
  std::snprintf(name, sizeof(name), "AutoScheme-%.2f", mix.average_bits);
  return {name, base_option(schemes_).quant, std::nullopt};
}

LayerChoices MixSearch::choices_of(const Mix& mix) const {
  LayerChoices choices;
  for (size_t i = 0; i < pool_.layers.size(); ++i) {
    const size_t o = mix.choice[i];
    const PoolLayer& layer = pool_.layers[i];
    std::string reason = str("autoscheme: ", schemes_[o].name);
    if (layer.quants[o].quantized() && layer.quants[o].weight != schemes_[o].quant.weight)
      reason += str(" does not hold rows of ", layer.plan.in_features);
    choices[layer.plan.name] = {layer.quants[o], std::move(reason)};
  }
  for (const Pool::Refused& layer : pool_.refused)
    choices[layer.name] = {full_precision(planned_.plan.global, "fp"), layer.reason};
  return choices;
}

QuantPlan MixSearch::plan_of(const Mix& mix) const {
  Reporter quiet;
  const LayerChoices choices = choices_of(mix);
  QuantPlan plan = build_plan(planned_.layout, scheme_of(mix), planning_, registry_, quiet, &choices);
  (void)refine_plan(plan, refiners());
  if (planned_.run_time != nullptr) planned_.run_time->apply(plan);
  return plan;
}

}  // namespace arkit
