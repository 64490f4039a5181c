#pragma once
// Formats whose files mix number formats freely (arkit/free_mix.h), and schemes that name their format.

#include <string>
#include <string_view>
#include <vector>

#include <arkit/export.h>
#include <arkit/exporter.h>
#include <arkit/free_mix.h>
#include <arkit/registry.h>

namespace arkit {

// The face of an exporter; null = it has none.
[[nodiscard]] ARKIT_INTERNAL const FreeMix* free_mix_of(const Exporter& exporter);

// Do all these formats have it? False for none.
[[nodiscard]] ARKIT_INTERNAL bool mix_freely(const std::vector<std::string>& formats, const Registry& registry);

// The format that a scheme's name begins with: "gguf" of "GGUF:Q4_K"; empty = none.
[[nodiscard]] ARKIT_INTERNAL std::string format_in_name(std::string_view scheme, const Registry& registry);

}  // namespace arkit
