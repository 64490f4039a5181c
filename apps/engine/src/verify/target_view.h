#pragma once
// An export as the program it is for sees it: another configuration, and perhaps no head.

#include <memory>

#include <arkit/json.h>
#include <arkit/model_source.h>

namespace arkit {

// `source` outlives the view. Without a head neither lm_head.weight nor a packed lm_head is shown.
[[nodiscard]] std::unique_ptr<ModelSource> view_as(const ModelSource& source, json::Object config, bool with_head);

}  // namespace arkit
