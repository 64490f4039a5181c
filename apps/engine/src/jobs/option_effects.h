#pragma once
// Every option either acts or is answered: a combination that would leave one without effect is refused where the user
// expects another result, and warned about where not.

#include <arkit/engine/jobs.h>
#include <arkit/export.h>
#include <arkit/log.h>
#include <arkit/registry.h>

#include "jobs/planned_model.h"
#include "quant/recipes.h"

namespace arkit {

// What the options say against each other, before anything is opened. Throws ErrorCode::usage, ErrorCode::unsupported
// for a device there is none of.
ARKIT_INTERNAL void check_options(const QuantizeOptions& options, Reporter& reporter);

// What they have to do with this model and its plan. `given` is what the user gave, `mixed` whether AutoScheme chose.
// Throws ErrorCode::usage and ErrorCode::unsupported.
void check_effects(const QuantizeOptions& given, const ResolvedTuning& tuning, const PlannedModel& planned, bool mixed,
                   const Registry& registry, Reporter& reporter);

// Does --scale_dtype say anything for this layer?
[[nodiscard]] bool stores_scale_dtype(const LayerPlan& layer, const Registry& registry);

}  // namespace arkit
