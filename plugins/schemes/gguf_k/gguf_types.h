#pragma once
// The block types by the names TensorQuant::data_type has for them, and the presets made of them.

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <arkit/descriptors.h>

#include "ggml_ref.h"

namespace arkit::gguf_k {

// In lower case as in GGUF's own words: "q4_0", "q4_k", "iq4_nl" ...
[[nodiscard]] std::span<const std::string_view> data_types();
[[nodiscard]] std::string_view name_of(BlockType type);
[[nodiscard]] std::optional<BlockType> find_type(std::string_view data_type);

// The one TensorQuant a type has.
[[nodiscard]] TensorQuant quant_of(BlockType type);

// GGUF:Q4_0, GGUF:Q4_K_M ...: names of files, whose layers a format may give other types (Exporter::refine).
[[nodiscard]] std::vector<Preset> make_presets();

}  // namespace arkit::gguf_k
