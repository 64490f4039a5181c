#pragma once
// Static scales of keys, values and queries: from the options to what the plan says (docs/spec/calibration.md 10).

#include <string>

#include <arkit/descriptors.h>
#include <arkit/engine/jobs.h>
#include <arkit/export.h>
#include <arkit/model_layout.h>
#include <arkit/registry.h>

namespace arkit {

// Fills plan.attention and plan.attentions. Throws ErrorCode::usage for a type or granularity there is none of,
// ErrorCode::unsupported when the model cannot be hooked or no scheme plugin knows the type.
ARKIT_INTERNAL void plan_attention(QuantPlan& plan, const ModelLayout& layout, const AttentionOptions& options,
                                   const Registry& registry);

// For people: "keys and values fp8 per tensor"; empty for none.
[[nodiscard]] ARKIT_INTERNAL std::string describe(const AttentionQuant& quant);

}  // namespace arkit
