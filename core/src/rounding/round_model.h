#pragma once
// Plain rounding of a whole model: everything `arkit quantize` does between plan and finished files when no sample goes
// through the model.

#include <optional>

#include "jobs/quantize_run.h"

namespace arkit {

// Rounds, packs and writes every layer and copies every other tensor, in the order of round_plan. All threads take
// strips of layers and tensors from one queue, so none waits for another at the end of a layer; while one packs and
// writes a layer the others round the next; as many layers are open as fit into the memory of the two largest.
// The exports see layers in order, one at a time. `disable_opt_rtn` says how to round (rtn_mode).
void round_model(QuantizeRun& run, std::optional<bool> disable_opt_rtn);

}  // namespace arkit
