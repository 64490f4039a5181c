#pragma once
// What formats record about a plan: the members of quantization_config that auto_round, auto_gptq, auto_awq, fp8 and
// fake share (docs/spec/export-folder.md 7), and AutoRound's extra_config (section 8).

#include <string>
#include <string_view>
#include <vector>

#include <arkit/descriptors.h>
#include <arkit/exporter.h>
#include <arkit/json.h>

namespace arkit::sdk {

// bits ... sym, the settings of the run that differ from their defaults, autoround_version. `block_key`, if not empty,
// gets the block prefixes before the version ("to_quant_block_names" of AWQ).
[[nodiscard]] json::Object base_quantization_config(const QuantPlan& plan, const RunRecord& run,
                                                    std::string_view block_key = {});

// "model.layers", or several prefixes joined by commas.
[[nodiscard]] std::string block_prefixes(const QuantPlan& plan);

// The scheme fields in which `quant` differs from `global`; a layer left in floating point records its bits and types
// only.
[[nodiscard]] json::Object scheme_difference(const LayerQuant& quant, const LayerQuant& global);

// Exact names and the user's patterns -> differing fields; empty when all layers follow the global scheme. A quantized
// layer outside the blocks records its full scheme; patterns do where a format's loader wants them so (fp8).
[[nodiscard]] json::Object extra_config(const QuantPlan& plan, bool full_patterns = false);

// The same of a model-free run: every layer left in floating point, and patterns as the user typed them
// (docs/spec/model-free.md 5).
[[nodiscard]] json::Object model_free_extra_config(const QuantPlan& plan);

// Adds the linear layers that the plan does not know (linear_layers.h) to either of them, as left in floating point.
void leave_alone(json::Object& extra, const ExportRequest& request);

// Rules whose pattern is not simply the name of a layer: what formats keep as patterns.
[[nodiscard]] std::vector<const PatternRule*> pattern_rules(const QuantPlan& plan);

// No when the plan leaves every layer in 16 bits: such a plan is a plain model, and these formats cannot say so.
[[nodiscard]] Verdict quantizes_something(const QuantPlan& plan, std::string_view format);

// "float16" for at::kHalf, as config.json spells dtypes.
[[nodiscard]] std::string dtype_name(at::ScalarType dtype);

}  // namespace arkit::sdk
