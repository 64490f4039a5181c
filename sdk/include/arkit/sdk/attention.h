#pragma once
// Causal attention with grouped key/value heads and sliding windows, and the masks it needs.

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace arkit::sdk {

// What a call's masks are made of; positions are slots of the padded row, not position ids (docs/spec/decoder.md 3).
struct MaskSpec {
  int64_t past = 0;     // keys that precede the first query
  int64_t seqlen = 0;   // queries
  int64_t window = 0;   // keys a query sees, itself included; 0 = all
  at::Tensor key_mask;  // bool [batch, past + seqlen], true = real token; undefined = all real
};

// Additive mask [1 or batch, 1, seqlen, past + seqlen] of `dtype`: 0 or the dtype's lowest finite value. Never -inf: a
// row of padding would become NaN and poison gradients. Undefined when none is needed: queries start at the first key
// (plain causal), or there is a single query that sees every key.
[[nodiscard]] at::Tensor attention_mask(const MaskSpec& spec, at::ScalarType dtype);

// softmax(c * tanh(query key^T * scale / c) + mask) value with c = softcap; 0 = no cap: the products themselves. query [batch, heads, S, key_dim], key [batch, kv_heads, T, key_dim], value
// [batch, kv_heads, T, value_dim] of any strides with the last one 1; heads % kv_heads == 0. With an undefined mask:
// causal when S > 1 (needs S == T), everything when S == 1. Returns [batch, S, heads * value_dim]. Differentiable, but not under a
// FixedOrder. With at::globalContext().deterministicAlgorithms() threads do not matter; bf16 is then computed in f32.
[[nodiscard]] at::Tensor attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                                   const at::Tensor& mask, double scale, double softcap = 0.0);
// The same as a chain of plain operators: scores in memory, rounded to the dtype at each step as in the reference's
// eager attention (docs/spec/decoder.md 3).
[[nodiscard]] at::Tensor attention_ref(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                                       const at::Tensor& mask, double scale, double softcap = 0.0);

}  // namespace arkit::sdk
