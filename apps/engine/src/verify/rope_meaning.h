#pragma once
// What the rotary embedding of a configuration comes to, which may be said in several places and ways.

#include <string_view>

#include <arkit/export.h>
#include <arkit/json.h>

namespace arkit {

// Is `key` of a configuration about its rotary embedding, and said anew by rope_meaning?
[[nodiscard]] ARKIT_INTERNAL bool is_rope_word(std::string_view key);

// One set of parameters for all layers; gemma3 and its like have one a kind of layer.
[[nodiscard]] ARKIT_INTERNAL bool has_one_rope(const json::Object& config);

// As transformers 5 understands them: rope_scaling counts whole where it holds anything, else rope_parameters, and what
// is inside before what stands beside it. The scales of yarn's and longrope's tables are one number, attention_factor;
// rope_type is always there, what nobody says is not. Of a configuration that has_one_rope.
[[nodiscard]] ARKIT_INTERNAL json::Object rope_meaning(const json::Object& config);

// 0.1 mscale ln(factor) + 1, from a factor of 1 on.
[[nodiscard]] ARKIT_INTERNAL double yarn_mscale(double factor, double mscale) noexcept;

}  // namespace arkit
