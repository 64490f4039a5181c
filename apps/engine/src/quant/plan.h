#pragma once
// The plan: every linear layer of the model with the scheme it gets and why, decided before any work starts.

#include <map>
#include <string>
#include <vector>

#include <arkit/descriptors.h>
#include <arkit/engine/jobs.h>
#include <arkit/export.h>
#include <arkit/log.h>
#include <arkit/model_layout.h>
#include <arkit/registry.h>

#include "quant/scheme_resolver.h"

namespace arkit {

// A scheme chosen for a layer before the plan is made, and why. AutoScheme's answer, by layer name.
struct LayerChoice {
  LayerQuant quant;
  std::string reason;
};
using LayerChoices = std::map<std::string, LayerChoice, std::less<>>;

// Applies, in this order: the global scheme, `choices` (null = none), layer_config, block lists left out, lm_head and
// tied-embedding rules, ignore_layers, shape rules (docs/spec/schemes.md 4 to 8). Pure. Warns through `reporter`;
// throws ErrorCode::usage for a pattern that matches nothing unless options.allow_unmatched, and ErrorCode::unsupported
// when a scheme refuses a layer and the policy is "error".
[[nodiscard]] ARKIT_INTERNAL QuantPlan build_plan(const ModelLayout& layout, const ResolvedScheme& scheme,
                                                  const QuantizeOptions& options, const Registry& registry,
                                                  Reporter& reporter, const LayerChoices* choices = nullptr);

// A plan of the layers, blocks and lists of the model, with nothing decided.
[[nodiscard]] ARKIT_INTERNAL QuantPlan empty_plan(const ModelLayout& layout);

// May a layer of this shape have the scheme its plan says, under options.on_indivisible?
[[nodiscard]] ARKIT_INTERNAL Verdict fits_shape(const LayerPlan& layer, const std::string& on_indivisible,
                                                const Registry& registry);

// Is the layer in one of the blocks that options.to_quant_block_names names? No names = all.
[[nodiscard]] bool in_chosen_blocks(const LayerPlan& layer, const std::vector<std::string>& block_names);

// What is allowed but will be regretted: layers that a serving engine fuses with different schemes (runtime_rules.h).
// One sentence a cause; --dry-run and arkit-run.json list them.
[[nodiscard]] ARKIT_INTERNAL std::vector<std::string> plan_warnings(const QuantPlan& plan);

// Layers whose shape keeps them in 16 bits or makes their last groups short. One sentence a cause.
[[nodiscard]] ARKIT_INTERNAL std::vector<std::string> shape_warnings(const QuantPlan& plan);

// What a layer that stays as it is says of itself in a plan whose scheme is `global`. `data_type` is what formats
// record: "float" where a rule says so, "fp" where the shape forbids more.
[[nodiscard]] LayerQuant full_precision(const LayerQuant& global, std::string_view data_type = "float");

// A linear outside the decoder blocks, unlike a table of embeddings.
[[nodiscard]] ARKIT_INTERNAL bool is_head(const LayerPlan& layer);

// Number of quantized layers.
[[nodiscard]] ARKIT_INTERNAL int64_t quantized_count(const QuantPlan& plan);

}  // namespace arkit
