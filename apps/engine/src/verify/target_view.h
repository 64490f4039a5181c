#pragma once
// An export as the program it is for sees it: another configuration, and perhaps no head.

#include <memory>
#include <string_view>

#include <arkit/json.h>
#include <arkit/model_source.h>

namespace arkit {

// `source` outlives the view. Of the layer left out, empty = none, nothing is shown, packed or not.
[[nodiscard]] std::unique_ptr<ModelSource> view_as(const ModelSource& source, json::Object config,
                                                   std::string_view left_out);

}  // namespace arkit
