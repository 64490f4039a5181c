#pragma once
// Formats whose files mix number formats freely (arkit/free_mix.h).

#include <string>
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

}  // namespace arkit
