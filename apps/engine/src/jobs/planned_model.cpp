#include "jobs/planned_model.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <arkit/engine/reported_jobs.h>
#include <arkit/error.h>
#include <arkit/scheme.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/str.h>

#include "hub/model_outline.h"
#include "jobs/source_hashes.h"
#include "jobs/truncated_source.h"
#include "model_free/checkpoint_source.h"
#include "model_free/completeness.h"
#include "model_free/weights_model.h"
#include "oneshot/recipe_plan.h"
#include "quant/plan.h"
#include "source/canonical_source.h"
#include "transform/checkpoint_transform.h"
#include "tuning/neuqi_plan.h"
#include "tuning/product_speed.h"
#include "tuning/sample_needs.h"

namespace arkit {
namespace fs = std::filesystem;
namespace {

// Keeps what is said of a plan that may be dropped.
class HeldMessages final : public Reporter {
 public:
  void info(std::string_view message) override { messages_.emplace_back(message, false); }
  void warn(std::string_view message) override { messages_.emplace_back(message, true); }
  void pass_on(Reporter& reporter) const {
    for (const auto& [message, is_warning] : messages_) is_warning ? reporter.warn(message) : reporter.info(message);
  }

 private:
  std::vector<std::pair<std::string, bool>> messages_;
};

struct Planner {
  const QuantizeOptions& options;
  const ResolvedTuning& tuning;
  const ResolvedScheme& scheme;
  const oneshot::Recipe* recipe;
  const Registry& registry;
  const LayerChoices* choices;
  const std::vector<FormatChoice> formats;
  const Algs& algs;
  const LowDisk* low_disk = nullptr;

  [[nodiscard]] bool forced() const { return options.model_free.value_or(false); }

  [[nodiscard]] std::unique_ptr<ModelSource> open_source(bool model_free, PlannedModel& planned,
                                                         Reporter& reporter) const {
    std::unique_ptr<ModelSource> source =
        low_disk != nullptr ? low_disk->open(registry, reporter) : open_plain_source(options.model, registry, reporter);
    if (!hub::outlined_id(source->path())) warn_of_denied_biases(*source, reporter);  // which looks at values
    if (!sdk::packed_layers(*source).empty() && !forced())
      throw_unsupported(
          str("'", options.model, "' is already quantized (", source->kind(),
              "); quantize the model it was made from, or pass --model_free to round its dequantized weights"));
    if (source->rotations() != nullptr)
      throw_unsupported(str("'", options.model, "' is rotated (", source->kind(),
                            ") and needs its rotations at run time; quantize the model it was made from"));
    planned.files = weight_files(*source, options.num_hidden_layers);
    if (low_disk != nullptr)
      std::erase_if(planned.files,
                    [&](const std::filesystem::path& file) { return low_disk->model().brings(file.filename()); });
    // What is cut off need not be complete, nor belong to the model.
    if (options.num_hidden_layers) source = truncate_blocks(std::move(source), *options.num_hidden_layers);
    model_free::require_complete(*source, registry);
    planned.state = SourceState(*source, planned.files);
    return model_free ? model_free::open_checkpoint(std::move(source), registry) : std::move(source);
  }

  [[nodiscard]] PlannedModel plan(bool model_free, Reporter& reporter) const {
    PlannedModel planned;
    planned.model_free = model_free;
    planned.source = open_source(model_free, planned, reporter);
    if (!options.rotation.empty()) rotate(planned);
    planned.layout = model_free ? model_free::layout_of(*planned.source) : layout_of(*planned.source, registry);
    build(planned, reporter);
    refine(planned, reporter);
    const SchemeFor scheme_for = schemes_of(registry);
    apply_neuqi(planned.plan, tuning, scheme_for, reporter);
    if (planned.run_time != nullptr) planned.run_time->apply(planned.plan);
    planned.forwards =
        needs_samples(planned.plan, !model_free && tuning.iters > 0,
                      model_free ? std::optional(true) : tuning.disable_opt_rtn, scheme_for, !options.imatrix.empty());
    planned.transforms = plan_transforms(algs, *planned.source, planned.plan, registry);
    const bool for_formats = !model_free && any_wants(formats, &ExporterInfo::wants_imatrix);
    planned.forwards = planned.forwards || for_formats || measures_for_file(options) || !planned.transforms.empty();
    return planned;
  }

  [[nodiscard]] bool has_family() const {
    try {
      (void)adapter_for(*arkit::open_source(options.model, registry), registry);
      return true;
    } catch (const Error&) {
      return false;
    }
  }

  void rotate(PlannedModel& planned) const {
    TransformedCheckpoint transformed =
        transform_checkpoint(std::move(planned.source), "rotation", options.rotation, registry);
    planned.source = std::move(transformed.source);
    planned.run_time = std::move(transformed.run_time);
  }

  void build(PlannedModel& planned, Reporter& reporter) const {
    if (recipe == nullptr) {
      planned.plan = build_plan(planned.layout, scheme, options, registry, reporter, choices);
      return;
    }
    auto [plan, record] = oneshot::plan_recipe(*recipe, planned.layout, *planned.source, registry, reporter);
    planned.plan = std::move(plan);
    planned.recipe = std::move(record);
  }

  // The formats' turn. What a recipe's own plan warned about is not said twice.
  void refine(PlannedModel& planned, Reporter& reporter) const {
    const std::vector<std::string> warned =
        recipe == nullptr ? std::vector<std::string>() : plan_warnings(planned.plan);
    planned.refined = refine_plan(planned.plan, {.formats = formats,
                                                 .source = *planned.source,
                                                 .registry = registry,
                                                 .on_indivisible = options.on_indivisible,
                                                 .importance = !options.imatrix.empty(),
                                                 .from_recipe = recipe != nullptr,
                                                 .allow_unmatched = options.allow_unmatched,
                                                 .reporter = &reporter});
    say(planned.refined, reporter);
    for (const std::string& warning : shape_warnings(planned.plan)) reporter.warn(warning);
    for (const std::string& warning : plan_warnings(planned.plan))
      if (std::find(warned.begin(), warned.end(), warning) == warned.end()) reporter.warn(warning);
  }

  // Rounding into formats that record model-free runs: worth a try. The reference's choice
  // (docs/spec/model-free.md 1).
  [[nodiscard]] bool may_be_model_free() const {
    const bool rounds = tuning.iters == 0 && tuning.disable_opt_rtn.value_or(false) && recipe == nullptr &&
                        choices == nullptr && algs.transforms.empty() && options.imatrix.empty() &&
                        options.save_imatrix.empty();
    return options.model_free.value_or(true) && rounds &&
           std::all_of(formats.begin(), formats.end(), [this](const FormatChoice& format) {
             return format.exporter->rounds_without_family(scheme.name, format.name);
           });
  }
};

PlannedModel plan_forced(const Planner& planner, Reporter& reporter) {
  if (planner.options.tuning.iters.value_or(0) > 0)
    throw_usage("model_free rounds without tuning; pass --iters 0, or leave model_free out");
  if (!planner.options.imatrix.empty() || !planner.options.save_imatrix.empty())
    throw_usage(str("model_free rounds without a search and without samples; leave it or --",
                    planner.options.imatrix.empty() ? "save_imatrix" : "imatrix", " out"));
  if (planner.tuning.options.enable_neuqi)
    throw_usage("model_free rounds without a search; leave it or --enable_neuqi out");
  if (!planner.algs.transforms.empty())
    throw_usage(str("model_free has no forward pass, which '", planner.algs.transforms.front().name,
                    "' of algs needs; leave one of them out"));
  const AttentionOptions& attention = planner.options.attention;
  if (!attention.kv_dtype.empty() || !attention.attention_dtype.empty())
    throw_usage(
        "model_free has no forward pass to calibrate keys and values with; leave model_free out, or "
        "static_kv_dtype and static_attention_dtype");
  PlannedModel planned = planner.plan(true, reporter);
  if (planned.forwards)
    throw_usage(str("model_free has no forward pass to calibrate static activation scales with, which scheme '",
                    planner.scheme.name,
                    "' needs; pass --act_bits 16 to quantize weights alone, or leave model_free out"));
  return planned;
}

PlannedModel plan_best(const Planner& planner, Reporter& reporter) {
  if (planner.forced()) return plan_forced(planner, reporter);
  if (planner.may_be_model_free()) {
    try {
      HeldMessages held;
      PlannedModel planned = planner.plan(true, held);
      if (!planned.forwards) {
        held.pass_on(reporter);
        return planned;
      }
    } catch (const Error& error) {
      // The family's plugin may know better, or what is wrong; without one this is the answer.
      if (error.code() == ErrorCode::interrupted || planner.options.low_disk || !planner.has_family()) throw;
    }
  }
  if (planner.options.low_disk) refuse_low_disk();
  return planner.plan(false, reporter);
}

}  // namespace

PlannedModel plan_model(const QuantizeOptions& options, ResolvedTuning& tuning, const ResolvedScheme& scheme,
                        const oneshot::Recipe* recipe, const Registry& registry, Reporter& reporter,
                        const LayerChoices* choices, const Algs& algs) {
  Planner planner{options,
                  tuning,
                  scheme,
                  recipe,
                  registry,
                  choices,
                  find_formats(options.formats, recipe != nullptr, options.output_dir, registry,
                               format_words(options.format_options)),
                  algs};
  if (options.low_disk && !planner.forced() && !planner.may_be_model_free()) refuse_low_disk();
  std::unique_ptr<LowDisk> low_disk = open_low_disk(options, scheme.name, reporter);
  planner.low_disk = low_disk.get();
  // A download is shown, whatever becomes of the plans that are tried.
  if (low_disk == nullptr) (void)locate_model(options.model, reporter);
  PlannedModel planned = plan_best(planner, reporter);
  planned.low_disk = std::move(low_disk);
  if (planned.model_free) {
    tuning.iters = 0;
    tuning.disable_opt_rtn = true;
  }
  return planned;
}

at::ScalarType choose_dtype(const TuningOptions& options, bool forwards) {
  if (options.amp_dtype == "bfloat16") return at::kBFloat16;
  if (options.amp_dtype == "float32") return at::kFloat;
  if (options.amp_dtype != "auto")
    throw_usage(str("amp_dtype '", options.amp_dtype, "' is unknown; expected auto, bfloat16 or float32"));
  return forwards ? product_speed().faster() : at::kBFloat16;
}

json::Object describe_compute(const TuningOptions& options, at::ScalarType dtype) {
  json::Object compute{{"dtype", dtype == at::kFloat ? "float32" : "bfloat16"}};
  if (options.amp_dtype != "auto") {
    compute["chosen_by"] = "amp_dtype";
    return compute;
  }
  const ProductSpeed& speed = product_speed();
  compute["chosen_by"] = speed.kept ? "kept measurement" : "measurement";
  compute["float32_gflops"] = speed.float32;
  compute["bfloat16_gflops"] = speed.bfloat16;
  return compute;
}

std::unique_ptr<Model> open_model(const PlannedModel& planned, at::ScalarType dtype, const Registry& registry) {
  if (planned.model_free) return model_free::open_weights(*planned.source, dtype);
  return adapter_for(*planned.source, registry).open(*planned.source, dtype);
}

}  // namespace arkit
