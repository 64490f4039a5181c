#pragma once
// The presets GGUF:Q4_0, GGUF:Q4_K_M ...: names of files, whose layers a format may give other types (Exporter::refine).

#include <vector>

#include <arkit/descriptors.h>

namespace arkit::gguf_k {

[[nodiscard]] std::vector<Preset> make_presets();

}  // namespace arkit::gguf_k
