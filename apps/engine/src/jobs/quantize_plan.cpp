#include "jobs/quantize_plan.h"

#include <algorithm>
#include <utility>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/scheme.h>
#include <arkit/sdk/gguf_blocks.h>
#include <arkit/str.h>

#include "jobs/calibrate.h"
#include "jobs/hub_origin.h"
#include "jobs/memory_estimate.h"
#include "jobs/mix_search.h"
#include "jobs/option_effects.h"
#include "jobs/option_record.h"
#include "jobs/rehearsal.h"
#include "jobs/runtime_check.h"
#include "jobs/source_labels.h"
#include "oneshot/recipe_plan.h"
#include "output/output_folder.h"
#include "quant/plan.h"
#include "quant/runtime_rules.h"
#include "quant/scheme_traits.h"
#include "util/heap.h"

namespace arkit {
namespace fs = std::filesystem;

namespace {

// Types of GGUF are rounded to from the numbers that are stored, as llama-quantize does it: bf16 is no detour.
bool only_blocks(const QuantPlan& plan) {
  return std::all_of(plan.layers.begin(), plan.layers.end(), [](const LayerPlan& layer) {
    return !layer.quantized() || sdk::find_block_type(layer.quant.weight.data_type).has_value();
  });
}

// Of those that models open in, the one that holds the numbers of all matrices as they are.
at::ScalarType exact_dtype(const ModelSource& source) {
  const auto tensors = source.weights().tensors();
  const bool narrow = std::all_of(tensors.begin(), tensors.end(), [](const TensorInfo& info) {
    return info.shape.size() < 2 || info.dtype == at::kBFloat16;
  });
  return narrow ? at::kBFloat16 : at::kFloat;
}

std::string rounding_name(const ResolvedTuning& tuning, bool searches) {
  // Plain rounding may need samples too: for the ranges of static activations.
  if (!searches || (tuning.iters == 0 && tuning.disable_opt_rtn.value_or(false))) return "RTN";
  return tuning.iters > 0 ? "SignRound" : "OPT-RTN";
}

fs::path choose_output_dir(const QuantizeOptions& options, const QuantPlan& plan, const ModelSource& source) {
  if (!options.output_dir.empty()) return fs::absolute(options.output_dir).lexically_normal();
  const fs::path label = fs::path(model_label(options.model, source.path())).filename();
  const bool is_file = label == source.path().filename() && !fs::is_directory(source.path());
  const fs::path name = is_file ? label.stem() : label;  // "org/name-0.6B" of a hub has no ending
  return fs::absolute(name.string() + "-" + plan.scheme_name);
}

// What a recipe file has to say about itself, before anything is opened.
std::optional<oneshot::Recipe> read_recipe(const QuantizeOptions& options, Reporter& reporter) {
  if (options.recipe_file.empty()) return std::nullopt;
  oneshot::Recipe recipe = oneshot::read_recipe_file(options.recipe_file);
  for (const std::string& warning : recipe.warnings) reporter.warn(warning);
  for (const std::string& note : recipe.notes) reporter.info(note);
  return recipe;
}

void rehearse_mix(const QuantizeWish& wish, const std::string& model, const Registry& registry, Reporter& quiet,
                  Reporter& reporter) {
  QuantizeOptions options = wish.options;
  options.model = model;
  const MixSearch search(options, registry, quiet);
  if (!options.runtime.empty()) (void)find_runtime(options.runtime);
  if (!options.output_dir.empty() && !options.dry_run)
    (void)open_output(fs::absolute(options.output_dir).lexically_normal(), search.formats(), search.source(),
                      options.force, reporter);
  search.check_samples();
}

}  // namespace

QuantizeWish read_wish(const QuantizeOptions& given, const Registry& registry, Reporter& reporter) {
  std::optional<oneshot::Recipe> recipe = read_recipe(given, reporter);
  QuantizeWish wish{.given = given, .options = given, .recipe = {}, .algs = {}, .tuning = {}};
  if (recipe) wish.options = oneshot::apply_recipe(*recipe, given);
  wish.recipe = std::move(recipe);
  wish.options.scheme = scheme_of(wish.options, registry);
  wish.algs = parse_algs(wish.options.algs, registry);
  apply_algs(wish.algs, wish.options);
  wish.tuning = resolve_tuning(
      wish.options.recipe, wish.options.tuning,
      !wish.algs.transforms.empty() || wants_samples(wish.options, registry) || measures_for_file(wish.options));
  return wish;
}

QuantizePlan decide(const QuantizeWish& wish, const std::string& model, const MixDecision* mix,
                    const Registry& registry, Reporter& reporter) {
  const QuantizeOptions& options = wish.options;
  const oneshot::Recipe* recipe = wish.recipe ? &*wish.recipe : nullptr;
  ResolvedTuning wanted = wish.tuning;
  const ResolvedScheme scheme = mix != nullptr ? mix->scheme : resolve_preset(options.scheme, registry);
  QuantizeOptions planning = mix != nullptr ? mix->planning : options;
  planning.model = model;
  QuantizePlan decided;
  decided.planned = plan_model(planning, wanted, scheme, recipe, registry, reporter,
                               mix != nullptr ? &mix->choices : nullptr, wish.algs);
  const PlannedModel& planned = decided.planned;
  const ModelSource& source = *planned.source;
  const QuantPlan& plan = planned.plan;
  check_effects(wish.given, wanted, planned, mix != nullptr, registry, reporter);
  judge_source_texts(source, reporter);
  say_what_stays(source, reporter);
  decide_for_bits(wanted, options.recipe, plan.global.weight, traits_of(plan.global, schemes_of(registry)).integer_grid,
                  !planned.transforms.empty());
  check_saving(options, source.config(), registry);
  if (!options.imatrix.empty()) {
    const SchemeTraits traits = traits_of(plan.global, schemes_of(registry));
    const RoundingStyle style{.tunes = wanted.iters > 0,
                              .alg_ext = wanted.enable_alg_ext,
                              .plain_by_default = traits.plain_by_default,
                              .disable_opt_rtn = wanted.disable_opt_rtn};
    decided.planned.importance = read_importance(options, plan, source.config(), style, registry, reporter);
  }
  // A recipe keeps the model's dtype; computing in f32 instead of float16 changes none of its weights.
  decided.stored = recipe != nullptr ? oneshot::stored_dtype(source) : at::kBFloat16;
  if (!planned.forwards) return_large_blocks();
  decided.dtype = decided.stored == at::kBFloat16 ? choose_dtype(wanted.options, planned.forwards) : at::kFloat;
  if (!planned.forwards && wanted.options.amp_dtype == "auto" && only_blocks(plan)) decided.dtype = exact_dtype(source);
  decided.tuning = planned.forwards ? fit_to_model(wanted, planned.layout, source, reporter) : wanted;
  decided.output_dir = choose_output_dir(options, plan, source);
  decided.formats = choose_formats(options.formats, plan, recipe != nullptr, decided.output_dir, registry,
                                   format_words(options.format_options));
  check_runtimes(options.runtime, plan, decided.formats, reporter);
  return decided;
}

std::string method_name(const QuantizePlan& decided) {
  std::string name;
  for (const PlannedTransform& transform : decided.planned.transforms) name += transform.name + ", ";
  return name + rounding_name(decided.tuning, decided.planned.forwards || decided.planned.importance != nullptr);
}

bool sees_quantized(const ResolvedTuning& tuning, bool transforms) {
  return (tuning.iters > 0 || transforms) && tuning.options.enable_quanted_input;
}

RunRecord run_settings(const QuantizeOptions& options, const QuantizePlan& decided) {
  const PlannedModel& planned = decided.planned;
  const ResolvedTuning& tuning = decided.tuning;
  const QuantPlan& plan = planned.plan;
  RunRecord run;
  run.model_free = planned.model_free;
  run.recipe = planned.recipe;
  run.disable_opt_rtn = tuning.disable_opt_rtn;
  run.iters = tuning.iters;
  run.nsamples = tuning.nsamples;
  run.seqlen = tuning.seqlen;
  run.batch_size = tuning.batch_size;
  run.gradient_accumulate_steps = tuning.options.gradient_accumulate_steps;
  run.seed = tuning.options.seed;
  run.lr = tuning.lr;
  run.minmax_lr = tuning.minmax_lr;
  run.enable_minmax_tuning = tuning.options.enable_minmax_tuning;
  run.enable_quanted_input = sees_quantized(tuning, !planned.transforms.empty());
  run.enable_norm_bias_tuning = tuning.options.enable_norm_bias_tuning;
  run.scale_dtype = plan.global.weight.scale_dtype;
  run.dataset = options.dataset;
  if (planned.importance != nullptr) run.importance = planned.importance->record;
  return run;
}

json::Object dry_run_report(const QuantizeWish& wish, const QuantizePlan& decided, const json::Object& auto_scheme,
                            const Registry& registry) {
  const PlannedModel& planned = decided.planned;
  const ResolvedTuning& tuning = decided.tuning;
  const QuantPlan& plan = planned.plan;
  QuantizeOptions options = wish.options;
  options.model_free = planned.model_free;
  json::Object report = describe_plan(plan);
  if (!planned.refined.empty()) report["changed_by_formats"] = describe(planned.refined);
  if (!planned.transforms.empty()) report["transforms"] = describe(planned.transforms);
  if (!auto_scheme.empty()) report["autoscheme"] = auto_scheme;
  report["method"] = method_name(decided);
  report["options"] = recorded_options(options, tuning, registry);
  const ExportRequest request{.output_dir = {},
                              .source = *planned.source,
                              .plan = plan,
                              .run = run_settings(options, decided),
                              .max_shard_bytes = options.max_shard_bytes};
  json::Array outputs;
  for (const FormatChoice& format : decided.formats)
    outputs.push_back(json::Object{{"format", format.name},
                                   {"output_dir", format.output_dir.string()},
                                   {"bytes", foretold_bytes(format, request)}});
  report["outputs"] = std::move(outputs);
  report["peak_memory_estimate_bytes"] =
      estimate_peak_bytes(plan, tuning, planned.layout, tuning.iters > 0, planned.forwards, decided.dtype);
  report["dry_run"] = true;
  return report;
}

json::Object decide_before_download(const QuantizeWish& wish, const Registry& registry, Reporter& reporter) {
  const QuantizeOptions& options = wish.options;
  if (options.low_disk) return {};  // plans from texts and headers by itself
  const bool mixed = !options.auto_scheme.options.empty();
  json::Object report;
  const auto work = [&](const std::string& model, Reporter& quiet) {
    if (mixed) {
      rehearse_mix(wish, model, registry, quiet, reporter);
      return;
    }
    const QuantizePlan decided = decide(wish, model, nullptr, registry, options.dry_run ? reporter : quiet);
    const PlannedModel& planned = decided.planned;
    if (!options.dry_run) {
      (void)prepare_output(decided.output_dir, decided.formats, planned.plan, *planned.source, options.force, reporter);
      if (planned.forwards) check_samples(options, decided.tuning, *planned.source, planned.layout, quiet);
    }
    check_source(decided.formats, planned.plan, *planned.source);
    if (options.dry_run) report = dry_run_report(wish, decided, {}, registry);
  };
  return rehearse(options.model, reporter, work) ? report : json::Object();
}

}  // namespace arkit
