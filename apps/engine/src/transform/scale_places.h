#pragma once
// Where the blocks of a model let channel scales be folded. The one function here that knows how a block is wired.

#include <vector>

#include <arkit/export.h>
#include <arkit/model_layout.h>
#include <arkit/model_source.h>
#include <arkit/transform.h>

namespace arkit {

// In the order of the blocks and within one from its input to its output. A place whose readers have their input turned
// at run time is none: no scale comes past a rotation. Throws as read_roles does.
[[nodiscard]] ARKIT_INTERNAL std::vector<ScalePlace> scale_places(const ModelSource& source, const ModelLayout& layout);

}  // namespace arkit
