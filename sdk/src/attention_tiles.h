#pragma once
// Causal attention of f32 in tiles of queries, forward and backward: products of small matrices with the keys a tile
// sees, so that what causality hides is (mostly) not computed, and the query heads that share a key/value head go
// through one product. A third less time than LibTorch's fused kernel, which computes hidden scores too.

#include <ATen/core/Tensor.h>

namespace arkit::sdk {

// Is this call one for attention_tiles: f32 on the CPU, S == T queries and keys, not too few, keys and values of one
// size?
[[nodiscard]] bool attention_tiles_apply(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value);

// softmax(query key^T * scale, causal) value of query [batch, heads, S, head_dim], key and value [batch, kv_heads, S,
// head_dim] -> [batch, S, heads * head_dim]. Differentiable. Memory: two score tiles a thread, one float a query and
// head.
[[nodiscard]] at::Tensor attention_tiles(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                                         double scale);

}  // namespace arkit::sdk
