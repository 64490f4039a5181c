#pragma once
// Causal attention of f32 in tiles of queries, forward and backward: products of small matrices with the keys a tile
// sees, so that what causality hides is (mostly) not computed, and the query heads that share a key/value head go
// through one product. A third less time than LibTorch's fused kernel, which computes hidden scores too.

#include <ATen/core/Tensor.h>

namespace arkit::sdk {

// Is this call one for attention_tiles: f32 on the CPU, S == T queries and keys, not too few, keys and values of one
// size?
[[nodiscard]] bool attention_tiles_apply(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value);

// What is not plain causal attention: scores capped by tanh (cap > 0), and with them a mask.
struct TileScores {
  double scale = 1.0, cap = 0.0;
  at::Tensor mask;  // f32 [1 or batch, 1, S, T], added; undefined = causal. Only beside a cap
};

// Is this call one for capped_tiles: f32 on the CPU, keys and values of one size?
[[nodiscard]] bool capped_tiles_apply(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value);

// softmax(cap * tanh(query key^T * scale / cap) + mask) value of query [batch, heads, S, head_dim], key and value
// [batch, kv_heads, T, head_dim], T >= S: without a mask the queries are the last of T positions. Else as below.
[[nodiscard]] at::Tensor capped_tiles(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                                      const TileScores& scores);

// softmax(query key^T * scale, causal) value of query [batch, heads, S, head_dim], key and value [batch, kv_heads, S,
// head_dim] -> [batch, S, heads * head_dim]. Differentiable. Memory: two score tiles a thread, one float a query and
// head.
[[nodiscard]] at::Tensor attention_tiles(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                                         double scale);

}  // namespace arkit::sdk
