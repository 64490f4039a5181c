#pragma once
// AutoScheme inside a quantization: one mix, decided before the plan is made.

#include <optional>

#include <arkit/engine/jobs.h>
#include <arkit/json.h>

#include "jobs/mix_search.h"
#include "quant/plan.h"
#include "quant/scheme_resolver.h"

namespace arkit {

struct MixDecision {
  ResolvedScheme scheme;     // what layers without a choice get, under the name of the mix
  LayerChoices choices;      // schemes of layers, for build_plan
  QuantizeOptions planning;  // the options to plan with
  json::Object report;       // for arkit-run.json and --dry-run
};

// Nothing when options.auto_scheme has no options. Writes the files AutoSchemeOptions names. Throws ErrorCode::usage
// for several budgets.
[[nodiscard]] std::optional<MixDecision> decide_mix(const QuantizeOptions& options, const Registry& registry,
                                                    Reporter& reporter);

// Writes the picture and the layer_config that options.auto_scheme names. The latter needs a single mix.
void write_mix_files(MixSearch& search, const std::vector<Mix>& mixes, const QuantizeOptions& options,
                     Reporter& reporter);

}  // namespace arkit
