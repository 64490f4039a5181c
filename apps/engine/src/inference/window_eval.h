#pragma once
// Negative log-likelihood of consecutive windows of tokens, and how far a model's distribution is from a reference's.
// Runs block by block over all windows of a pass: one block is resident, logits exist for a strip of the vocabulary and
// a slice of rows at a time.

#include <cstdint>

#include <ATen/core/Tensor.h>

#include <arkit/log.h>

#include "inference/engine.h"
#include "inference/score_sums.h"

namespace arkit {

// Throws ErrorCode::input where the two do not know the same number of tokens.
void check_comparable(const Engine& model, const Engine& reference);

// `windows` int64 [count, seqlen], seqlen >= 2, of which seqlen - 1 tokens each are scored; `batch_size` windows run through a block together. `reference` may be
// null; its vocabulary must be the model's.
[[nodiscard]] EvalResult evaluate_windows(Engine& model, Engine* reference, const at::Tensor& windows,
                                          int64_t batch_size, Reporter& reporter);

// How often evaluate_windows computes with every block.
[[nodiscard]] int64_t window_passes(const at::Tensor& windows);

}  // namespace arkit
