#pragma once
// The one answer to "does this run need calibration data?".

#include <optional>

#include <arkit/descriptors.h>
#include <arkit/export.h>

#include "tuning/process_block.h"

namespace arkit {

// Must samples go through the blocks: for tuning, for the importance matrix of a scale search (docs/spec/rtn.md 2), or
// for the ranges of static activations and attention states? Each layer is asked, since layer_config may give one what
// no other has.
[[nodiscard]] ARKIT_EXPORT bool needs_samples(const QuantPlan& plan, bool tunes, std::optional<bool> disable_opt_rtn,
                                              const SchemeFor& scheme_for);

}  // namespace arkit
