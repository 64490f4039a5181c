#pragma once
// The ways AutoRound stores weights, and which one a plan gets (docs/spec/format-auto_round.md 1).

#include <optional>
#include <string_view>

#include <arkit/descriptors.h>

namespace arkit::auto_round {

enum class Packing {
  gptq,         // "auto_round:auto_gptq": GPTQ layout, zero points minus one
  plain,        // "auto_round": GPTQ layout, zero points as they are
  gptqmodel,    // "auto_round:gptqmodel": plain with g_idx
  awq,          // "auto_round:auto_awq"
  micro,        // "auto_round:llm_compressor": MXFP4, MXFP8, NVFP4
  nvfp4_e5m3,   // "auto_round:llm_compressor_nvfp4_e5m3"
  mxint,        // "auto_round" again, with data_type mx_int
  fp8_static,   // "auto_round:fp8_static": activations with a calibrated scale
  fp8_block,    // "auto_round:fp8": 2-D blocks
  fp8_weights,  // no packing_format at all: weight-only fp8
  none          // nothing is quantized
};

[[nodiscard]] bool is_int(Packing packing);

// packing_format of quantization_config; empty for fp8_weights and none.
[[nodiscard]] std::string_view packing_name(Packing packing);
// The packing a config means, aliases included ("auto_round:awq"); nullopt for a name that is not one of ours.
[[nodiscard]] std::optional<Packing> packing_from_config(std::string_view name, const TensorQuant& weight);

// The integer packing `variant` (a --format name) asks for; nullopt for "auto_round", which decides by the plan, and
// for "auto_round:fp8".
[[nodiscard]] std::optional<Packing> packing_of_variant(std::string_view variant);

// The packing of a float scheme; nullopt for integers and for what AutoRound's format cannot say.
[[nodiscard]] std::optional<Packing> float_packing(const LayerQuant& quant);

// The scheme that decides the packing of a whole plan: the global one, or where that leaves layers in 16 bits the first
// one that does not.
[[nodiscard]] const LayerQuant& leading_scheme(const QuantPlan& plan);

// Symmetric integers -> gptq; asymmetric with 4 bits everywhere -> awq, where shapes allow it, however the run came to
// its codes (ADR 0022); else plain. Floats have one packing each.
[[nodiscard]] Packing choose_packing(const QuantPlan& plan, std::string_view variant);

}  // namespace arkit::auto_round
