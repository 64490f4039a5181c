#pragma once
// The one answer to "does this run need calibration data?".

#include <optional>

#include <arkit/descriptors.h>
#include <arkit/export.h>

#include "tuning/process_block.h"

namespace arkit {

// Must samples go through the blocks: for tuning, for the importance matrix of a scale search (docs/spec/rtn.md 2), or
// for the ranges of static activations and attention states? Each layer is asked, since layer_config may give one what
// no other has. `importance_given`: the matrix comes from a file.
[[nodiscard]] ARKIT_EXPORT bool needs_samples(const QuantPlan& plan, bool tunes, std::optional<bool> disable_opt_rtn,
                                              const SchemeFor& scheme_for, bool importance_given = false);

// How a run rounds, as far as importance matters to it.
struct RoundingStyle {
  bool tunes = false, alg_ext = false;
  bool plain_by_default = false;  // as the scheme says of the plan's global quantization (SchemeTraits)
  std::optional<bool> disable_opt_rtn;
};

// Does tuning or rounding this layer weigh errors by the importance of its inputs? `traits` are those of its quantization.
[[nodiscard]] ARKIT_EXPORT bool looks_at_importance(const LayerPlan& layer, const SchemeTraits& traits,
                                                    const RoundingStyle& style);

}  // namespace arkit
