#pragma once
// Is a checkpoint all there? Where no model is built, nothing else would notice a layer that is missing.

#include <arkit/export.h>
#include <arkit/model_source.h>
#include <arkit/registry.h>

namespace arkit::model_free {

// Throws ErrorCode::input naming what is missing (docs/adr/0023-what-a-model-folder-holds.md): the scale of an 8-bit
// float weight or the weight of a scale, blocks that config.json counts, a number left out in a list of blocks or
// experts, a module that one block lacks and blocks of its kind have, embeddings, final norm and head. What the names
// do not decide is accepted: models whose blocks differ are right models. Where a family's plugin knows the model, what
// it asks for must be there too.
ARKIT_INTERNAL void require_complete(const ModelSource& source, const Registry& registry);

// The names and config.json alone.
ARKIT_INTERNAL void require_complete(const ModelSource& source);

}  // namespace arkit::model_free
