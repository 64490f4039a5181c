#pragma once
// The first step of a quantization: the source is open, every layer has its plan, and it is known whether samples must
// go through the blocks and whether a model family is needed at all.

#include <filesystem>
#include <memory>
#include <vector>

#include <arkit/engine/jobs.h>
#include <arkit/exporter.h>
#include <arkit/model_adapter.h>
#include <arkit/registry.h>

#include "jobs/importance.h"
#include "jobs/low_disk.h"
#include "jobs/plan_refinement.h"
#include "jobs/source_state.h"
#include "oneshot/modifier.h"
#include "quant/plan.h"
#include "quant/recipes.h"
#include "quant/scheme_resolver.h"
#include "transform/planned_transform.h"
#include "tuning/process_block.h"

namespace arkit {

struct PlannedModel {
  std::unique_ptr<LowDisk> low_disk;  // where the shards of *source come from; null = from this disk
  std::unique_ptr<ModelSource> source;
  std::unique_ptr<RunTimePart> run_time;     // what *source needs there, when --rotation is given
  std::vector<std::filesystem::path> files;  // all weight files of it, but those that low_disk brings
  SourceState state;                         // of them and its texts when they were opened
  ModelLayout layout;                        // what *source is
  QuantPlan plan;                            // as formats have changed it
  std::vector<RefinedLayer> refined;         // what they changed
  bool model_free = false;  // rounded from tensor names alone: --model_free, or by itself where nothing is tuned,
                            // searched or measured (docs/spec/model-free.md 1)
  bool forwards = false;    // the plan needs samples
  std::vector<PlannedTransform> transforms;           // of --algs
  std::shared_ptr<const RecipeRecord> recipe;         // null = planned without a recipe file
  std::shared_ptr<const GivenImportance> importance;  // set by decide(); null = measured, or not looked at
};

// `recipe`, where given, takes the place of `scheme` and of the options about layers; `choices` (null = none) are
// schemes of layers decided before; `algs` what --algs says. Sets tuning to plain rounding where the run is model-free. Throws ErrorCode::usage
// when --model_free is asked for something that needs a forward pass, and whatever opening and planning throw.
[[nodiscard]] PlannedModel plan_model(const QuantizeOptions& options, ResolvedTuning& tuning,
                                      const ResolvedScheme& scheme, const oneshot::Recipe* recipe,
                                      const Registry& registry, Reporter& reporter,
                                      const LayerChoices* choices = nullptr, const Algs& algs = {});

// The dtype of weights while they are worked on. They are cast to bf16 as in the reference, so that an export's bytes
// do not depend on the machine; block forwards take f32 where this machine multiplies it faster (product_speed.h), and
// then the weights stay as they are (docs/spec/signround.md 12). Throws ErrorCode::usage for an unknown amp_dtype.
[[nodiscard]] at::ScalarType choose_dtype(const TuningOptions& options, bool forwards);
// What arkit-run.json says about the choice: dtype, what decided, and the figures measured for "auto".
[[nodiscard]] json::Object describe_compute(const TuningOptions& options, at::ScalarType dtype);

// The model with weights cast to `dtype`. Refers to *planned.source.
[[nodiscard]] std::unique_ptr<Model> open_model(const PlannedModel& planned, at::ScalarType dtype,
                                                const Registry& registry);

}  // namespace arkit
