#pragma once
// compressed-tensors' QuantizationArgs: how one tensor of a config group is quantized
// (docs/spec/format-compressed-tensors.md 2).

#include <string>

#include <arkit/descriptors.h>
#include <arkit/json.h>

#include "layouts.h"

namespace arkit::llm_compressor {

// `weights` and `input_activations` of a group; the latter is null where activations stay in floating point.
[[nodiscard]] json::Object weight_args(const LayerQuant& quant, Layout layout);
[[nodiscard]] json::Value activation_args(const LayerQuant& quant, Layout layout);

// Arguments of keys, values or queries with static scales; null where they stay in floating point.
[[nodiscard]] json::Value attention_args(const TensorQuant& quant, bool per_head);
// The inverse. Throws ErrorCode::unsupported for what arkit cannot reproduce.
void read_attention_args(const json::Object& args, TensorQuant& quant, bool& per_head, const std::string& what);

// The inverse. `what` names the group in errors. Throws ErrorCode::input for values out of range,
// ErrorCode::unsupported for what no scheme of arkit can say.
[[nodiscard]] LayerQuant read_args(const json::Object& group, Layout layout, const std::string& what);

}  // namespace arkit::llm_compressor
