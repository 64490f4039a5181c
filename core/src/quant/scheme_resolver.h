#pragma once
// From what a user types (a preset name and overrides) to the LayerQuant every layer starts with (algorithms.md 4).

#include <string>
#include <string_view>
#include <vector>

#include <arkit/descriptors.h>
#include <arkit/jobs.h>
#include <arkit/registry.h>

namespace arkit {

struct ResolvedScheme {
  std::string name;  // the preset's spelling, e.g. "W4A16"
  LayerQuant quant;
};

// All presets of all scheme plugins, sorted by name; names are unique without case.
[[nodiscard]] std::vector<Preset> all_presets(const Registry& registry);

// The preset called `name` (case does not matter). Throws ErrorCode::unsupported with the nearest name.
[[nodiscard]] ResolvedScheme resolve_preset(std::string_view name, const Registry& registry);

// Applies every set override, reconciles bits with digits in data_type ("mx_fp4" -> mx_fp, 4 bits), checks ranges.
// Throws ErrorCode::usage for values no scheme can have, ErrorCode::unsupported when no plugin knows the data type.
[[nodiscard]] LayerQuant apply_overrides(LayerQuant quant, const SchemeOverrides& overrides, const Registry& registry,
                                         std::string_view what);

// AutoRound's rule for int schemes: 8-bit asymmetric weights are refused unless the formats can say so
// (algorithms.md 4.3).
[[nodiscard]] std::string describe(const LayerQuant& quant);  // "int4 g128 sym", "16-bit"

}  // namespace arkit
