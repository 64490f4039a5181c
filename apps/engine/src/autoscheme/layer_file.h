#pragma once
// A plan as a layer_config file: exact names and schemes, which `quantize --layer_config FILE` gives the layers again.

#include <string>

#include <arkit/descriptors.h>
#include <arkit/export.h>
#include <arkit/registry.h>

namespace arkit::auto_scheme {

// TOML. Every layer of the plan's blocks, and the head where it is quantized, with a preset's name and the fields that
// differ from it. `comment` is put at the top, one line.
[[nodiscard]] ARKIT_INTERNAL std::string layer_config_text(const QuantPlan& plan, const Registry& registry,
                                                           const std::string& comment);

}  // namespace arkit::auto_scheme
