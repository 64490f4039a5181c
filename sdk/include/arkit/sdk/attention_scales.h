#pragma once
// Static scales of attention as the safetensors formats store them, beside the module they belong to
// (docs/spec/calibration.md 10):
//
//   fp8     MODULE.k_scale  MODULE.v_scale  MODULE.q_scale     largest magnitude / 448, what a stored number is worth
//   nvfp4   MODULE.k_global_scale  MODULE.v_global_scale       largest magnitude / 2688
//
// each [1], or one number a head (key and value scales have the key/value heads): [heads] in AutoRound's formats,
// [heads, 1, 1] in compressed-tensors.

#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <arkit/descriptors.h>
#include <arkit/json.h>
#include <arkit/model_source.h>
#include <arkit/sdk/export_folder.h>

namespace arkit::sdk {

struct AttentionScaleLayout {
  at::ScalarType dtype = at::ScalarType::Float;
  bool broadcast_heads = false;  // one a head: [heads, 1, 1]
};

// The tensors of one module under their full names.
[[nodiscard]] std::vector<PlannedTensor> attention_scale_tensors(const AttentionPlan& module,
                                                                 const AttentionQuant& quant,
                                                                 const AttentionScaleLayout& layout);
// Their values, computed in the layout's dtype, by full name.
[[nodiscard]] TensorMap attention_scales(const AttentionRanges& ranges, const AttentionQuant& quant,
                                         const AttentionScaleLayout& layout);

// The reading side: every module that has scales of these types, checked. Throws ErrorCode::input when there is none,
// or a module lacks one. `quant` without types gives nothing.
[[nodiscard]] std::vector<AttentionSpec> find_attention_scales(const WeightSource& weights,
                                                               const AttentionQuant& quant);
[[nodiscard]] AttentionRanges read_attention_scales(const WeightSource& weights, const AttentionSpec& spec);

// "fp8" and "nvfp4", as AutoRound's configuration spells them; empty = none.
[[nodiscard]] std::string attention_type_name(const TensorQuant& quant);
// The inverse; nullopt for another name.
[[nodiscard]] std::optional<TensorQuant> attention_type(const std::string& name);

// static_kv_dtype, static_kv_granularity and their like of attention, in AutoRound's configuration
// (docs/spec/export-folder.md 7).
void add_static_attention(json::Object& config, const AttentionQuant& quant);
[[nodiscard]] AttentionQuant read_static_attention(const json::Object& config, const std::string& what);

}  // namespace arkit::sdk
