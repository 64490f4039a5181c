#pragma once
// Tensors that lie in the files of a model and that no loader takes for parts of it
// (docs/adr/0031-tensors-that-are-not-the-models.md). Copied as they are they would make the export larger than its
// source, and hide that something else was meant. Each check throws ErrorCode::input with the tensor and the way out.

#include <cstdint>
#include <string>
#include <vector>

#include <arkit/model_source.h>

#include "model_free/numbered_modules.h"

namespace arkit::model_free {

// An adapter (LoRA and its relatives) beside the layers it changes, and names that a wrapper around the model left
// behind: PEFT, torch.compile, data parallel training.
void refuse_adapters(const ModelSource& source);

// One tensor under two names that mean the same place: "model.layers.0..." and "language_model.model.layers.0...".
// `names` as a plain model has them, `lists` made of them.
void refuse_second_names(const ModelSource& source, const std::vector<std::string>& names, const Lists& lists);

// Blocks from `count` on that do not predict further tokens: loaders ignore them with a warning.
void refuse_blocks_behind(const ModelSource& source, const Lists::value_type& blocks, int64_t count);

}  // namespace arkit::model_free
