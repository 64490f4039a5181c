#pragma once
// The first decoder block of the export computes nearly what the source's computes.

#include <arkit/model_source.h>
#include <arkit/registry.h>

#include "verify/verify_report.h"

namespace arkit {

// Runs block 0 of both on the embeddings of a few tokens, in float32. Skipped when no model family takes the source.
[[nodiscard]] CheckResult check_first_block(const ModelSource& exported, const ModelSource& source,
                                            const Registry& registry);

}  // namespace arkit
