#pragma once
// From what a user types (a preset name and overrides) to the LayerQuant every layer starts with
// (docs/spec/schemes.md 2).

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/descriptors.h>
#include <arkit/engine/jobs.h>
#include <arkit/export.h>
#include <arkit/registry.h>

namespace arkit {

struct ResolvedScheme {
  std::string name;  // the preset's spelling, e.g. "W4A16"
  LayerQuant quant;
  std::optional<LayerQuant> dense = std::nullopt;  // see Preset
};

// All presets of all scheme plugins, sorted by name; names are unique without case.
[[nodiscard]] ARKIT_INTERNAL std::vector<Preset> all_presets(const Registry& registry);

// The preset called `name` (case does not matter). Throws ErrorCode::unsupported with the nearest name.
[[nodiscard]] ARKIT_INTERNAL ResolvedScheme resolve_preset(std::string_view name, const Registry& registry);

// Types of blocks have bits of their own, and other bits of a layer mean another type (docs/FORMATS.md): of `quant` and the
// bits that `overrides` ask for. Throws ErrorCode::usage where no type has them.
[[nodiscard]] ARKIT_INTERNAL LayerQuant with_type_of_bits(LayerQuant quant, const SchemeOverrides& overrides,
                                                          std::string_view what);

// Applies every set override, reconciles bits with digits in data_type ("mx_fp4" -> mx_fp, 4 bits), checks ranges.
// Throws ErrorCode::usage for values no scheme can have, ErrorCode::unsupported when no plugin knows the data type.
[[nodiscard]] ARKIT_INTERNAL LayerQuant apply_overrides(LayerQuant quant, const SchemeOverrides& overrides,
                                                        const Registry& registry, std::string_view what);

// Overrides of activations mean nothing where these stay in 16 bits. Throws ErrorCode::usage, `what` first.
ARKIT_INTERNAL void refuse_idle_activations(const SchemeOverrides& overrides, bool quantized, std::string_view what);

// What a plan that starts from `scheme` and gives layers `global` is called: the preset's name while it is true of
// them, else the name of the preset that is, else one made in the manner of presets ("W3A16G64").
[[nodiscard]] ARKIT_INTERNAL std::string scheme_title(const ResolvedScheme& scheme, const LayerQuant& global,
                                                      const Registry& registry);

// For people: "int4 g128 sym", "16-bit".
[[nodiscard]] ARKIT_INTERNAL std::string describe(const LayerQuant& quant);

}  // namespace arkit
