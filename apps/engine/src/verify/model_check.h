#pragma once
// The export computes what the source computes: block after block, up to the logits, read as the program it is for
// reads it (ADR 0024).

#include <arkit/log.h>
#include <arkit/model_source.h>
#include <arkit/registry.h>

#include "verify/tensor_check.h"
#include "verify/verify_report.h"

namespace arkit {

// The family of the export's model finds every tensor it computes with; skipped where none takes it.
[[nodiscard]] CheckResult check_complete(const ModelSource& exported, const Registry& registry);

// Two comparisons on a few tokens, in float32. First the export with the source's weights in the place of its quantized
// layers: what differs then is the configuration, a bias, a norm or the head, and the two are equal but for casts. Then
// the export itself, whose blocks may differ by what the bits of their layers cost. `report` brings the errors of the
// layers and takes the results; skipped where no model family takes the source. With `keep_blocks` no block is given
// back before the end.
void check_model(const ModelSource& exported, const ModelSource& source, const Registry& registry,
                 const ExportFacts& facts, bool keep_blocks, Reporter& reporter, VerifyReport& report);

}  // namespace arkit
