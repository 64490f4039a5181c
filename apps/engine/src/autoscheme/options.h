#pragma once
// The options of AutoScheme: what a user lists as schemes a layer may get (docs/spec/auto-scheme.md 10).

#include <string>
#include <string_view>
#include <vector>

#include <arkit/engine/jobs.h>
#include <arkit/export.h>
#include <arkit/log.h>
#include <arkit/registry.h>

#include "autoscheme/score_table.h"

namespace arkit::auto_scheme {

// "W4A16,{scheme:W8A16,group_size:32}" -> the two; commas inside braces belong to their entry. Blanks around entries
// and empty entries are dropped.
[[nodiscard]] ARKIT_EXPORT std::vector<std::string> split_options(std::string_view text);

// Each entry is a preset's name or an object of scheme fields as in layer_config. options.overrides but its bits apply
// to all of them first; an 8-bit integer option stays symmetric where no serving engine reads asymmetric 8 bits of a
// chosen format. Entries that mean the same are taken once. Throws ErrorCode::usage for an empty list and for presets that give layers
// different schemes (W4A16_MIXED), ErrorCode::unsupported for unknown names.
[[nodiscard]] ARKIT_INTERNAL std::vector<SchemeOption> resolve_options(const QuantizeOptions& options,
                                                                       const Registry& registry, Reporter& reporter);

// The option that the mix starts from: what a file records for the model and exceptions are stated against. The first
// one that quantizes. Throws ErrorCode::usage when none does.
[[nodiscard]] ARKIT_INTERNAL const SchemeOption& base_option(const std::vector<SchemeOption>& options);

}  // namespace arkit::auto_scheme
