#pragma once
// Formats whose configuration lists layers: those it leaves out and those that are packed are together all linear
// layers.

#include <string>
#include <vector>

#include <arkit/model_source.h>
#include <arkit/registry.h>

#include "verify/verify_report.h"

namespace arkit {

// Linear layers that an export stores in full size, by the names and shapes of its tensors and, where a family knows
// the model, by its word. The list is made here and from nothing a writer uses.
[[nodiscard]] std::vector<std::string> full_size_layers(const ModelSource& exported, const Registry& registry);

// Skipped where the configuration has no such list.
[[nodiscard]] CheckResult check_layer_lists(const ModelSource& exported, const Registry& registry);

}  // namespace arkit
