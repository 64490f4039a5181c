#pragma once
// Formats change plans (Exporter::refine). All formats of a run are asked together, at plan time, and all they change
// is said: in the notes of the run, in the reasons of the layers, in --dry-run and in the record.

#include <string>
#include <vector>

#include <arkit/descriptors.h>
#include <arkit/engine/jobs.h>
#include <arkit/export.h>
#include <arkit/json.h>
#include <arkit/log.h>
#include <arkit/model_source.h>
#include <arkit/registry.h>

#include "jobs/export_set.h"
#include "quant/scheme_resolver.h"

namespace arkit {

// A layer as a format wanted it.
struct RefinedLayer {
  std::string format, layer;
  LayerQuant before, after;
  std::string reason;
};

// The formats of a run and what their changes are held to.
struct Refiners {
  const std::vector<FormatChoice>& formats;
  const ModelSource& source;
  const Registry& registry;
  std::string on_indivisible;    // see QuantizeOptions
  bool importance = false;       // see RefineRequest
  bool from_recipe = false;      // a recipe file says which layers are quantized and how: nothing may change
  bool allow_unmatched = false;  // as of QuantizeOptions
  Reporter* reporter = nullptr;  // hears what options of formats name in vain; null = it was said before
};

// Makes the changes all formats want of `plan`, in the order of formats. Throws ErrorCode::unsupported where a format
// refuses the plan, changes what is not its to change, or contradicts another one; ErrorCode::plugin for a format that
// names no layer of the model or changes its mind; ErrorCode::usage for options of formats that match nothing.
[[nodiscard]] ARKIT_INTERNAL std::vector<RefinedLayer> refine_plan(QuantPlan& plan, const Refiners& refiners);

// One note a format and rule.
ARKIT_INTERNAL void say(const std::vector<RefinedLayer>& refined, Reporter& reporter);
[[nodiscard]] ARKIT_INTERNAL json::Array describe(const std::vector<RefinedLayer>& refined);

// options.scheme, or the preset the formats stand for, or W4A16. Throws ErrorCode::usage for two that differ, and where
// AutoScheme or a recipe file decides instead.
[[nodiscard]] ARKIT_INTERNAL std::string scheme_of(const QuantizeOptions& options, const Registry& registry);

}  // namespace arkit
