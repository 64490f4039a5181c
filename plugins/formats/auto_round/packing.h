#pragma once
// The three ways AutoRound stores integer weights, and which one a plan gets (formats.md 1, 3.3).

#include <optional>
#include <string_view>

#include <arkit/descriptors.h>

namespace arkit::auto_round {

enum class Packing {
  gptq,       // "auto_round:auto_gptq": GPTQ layout, zero points minus one
  plain,      // "auto_round": GPTQ layout, zero points as they are
  gptqmodel,  // "auto_round:gptqmodel": plain with g_idx
  awq         // "auto_round:auto_awq"
};

// packing_format of quantization_config.
[[nodiscard]] std::string_view packing_name(Packing packing);
// The inverse, aliases included ("auto_round:awq"); nullopt for packings of other data types.
[[nodiscard]] std::optional<Packing> packing_from_name(std::string_view name);

// What `variant` (a --format name) asks for; nullopt for "auto_round", which decides by the plan.
[[nodiscard]] std::optional<Packing> packing_of_variant(std::string_view variant);

// Symmetric -> gptq; asymmetric with 4 bits everywhere -> awq, where shapes allow it; else plain.
[[nodiscard]] Packing choose_packing(const QuantPlan& plan, std::string_view variant);

}  // namespace arkit::auto_round
