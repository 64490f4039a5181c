#pragma once
// A model with the channel scales of a run folded in: what its export is rounded from.

#include <memory>
#include <vector>

#include <arkit/export.h>
#include <arkit/model_source.h>

#include "transform/fold_record.h"

namespace arkit {

// Tensors are folded as they are loaded. Throws ErrorCode::input naming a tensor that a record has and the source has
// not, or not with as many channels.
[[nodiscard]] ARKIT_INTERNAL std::unique_ptr<ModelSource> fold_source(std::unique_ptr<ModelSource> source,
                                                                      std::vector<TransformRecord> records);

}  // namespace arkit
