#pragma once
// The options of a run as arkit-run.json has them.

#include <arkit/engine/jobs.h>
#include <arkit/json.h>
#include <arkit/registry.h>

#include "quant/recipes.h"

namespace arkit {

// As resolved_options() of arkit/engine/resolved_options.h, with what the model and the recipe file have decided
// meanwhile.
[[nodiscard]] json::Object recorded_options(const QuantizeOptions& options, const ResolvedTuning& tuning,
                                            const Registry& registry);

}  // namespace arkit
