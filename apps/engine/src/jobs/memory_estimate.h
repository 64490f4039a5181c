#pragma once
// How much memory a run will need, from shapes alone: for --dry-run and for a warning before the work starts.

#include <cstdint>

#include "jobs/quantize_run.h"

namespace arkit {

// Upper estimate of the resident set in bytes (docs/spec/checkpoints.md 4): the process itself, one block with its
// tuning state, the activation caches and the activations of one mini-batch.
[[nodiscard]] int64_t estimate_peak_bytes(const QuantPlan& plan, const ResolvedTuning& tuning,
                                          const ModelLayout& layout, bool tunes, bool uses_samples,
                                          at::ScalarType dtype);

}  // namespace arkit
