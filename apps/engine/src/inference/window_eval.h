#pragma once
// Negative log-likelihood of consecutive windows of tokens, and how far a model's distribution is from a reference's.
// Runs block by block over all windows of a pass: one block is resident, logits exist for a strip of the vocabulary and
// a slice of rows at a time.

#include <cstdint>
#include <optional>

#include <ATen/core/Tensor.h>

#include <arkit/log.h>

#include "inference/engine.h"

namespace arkit {

// Distances of one scored token each, over all of them.
struct Divergence {
  double mean_kl = 0, p99_kl = 0;  // KL(reference || model), nats
  double top1_agreement = 0;       // share of tokens whose most likely successor is the same
};

struct WindowScore {
  double nll = 0;      // mean, nats
  int64_t tokens = 0;  // scored: seqlen - 1 a window
};

struct EvalResult {
  WindowScore model;
  std::optional<WindowScore> reference;
  std::optional<Divergence> divergence;
};

// `windows` int64 [count, seqlen], seqlen >= 2; `batch_size` windows run through a block together. `reference` may be
// null; its vocabulary must be the model's.
[[nodiscard]] EvalResult evaluate_windows(Engine& model, Engine* reference, const at::Tensor& windows,
                                          int64_t batch_size, Reporter& reporter);

// How often evaluate_windows computes with every block.
[[nodiscard]] int64_t window_passes(const at::Tensor& windows);

}  // namespace arkit
