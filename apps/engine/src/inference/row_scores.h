#pragma once
// What a model says of the tokens that came, row by row of hidden states, from its head in strips of the vocabulary:
// neither the head nor the logits are in memory as a whole.

#include <ATen/core/Tensor.h>

#include "inference/engine.h"

namespace arkit {

// One number a row, natural logarithms in float64.
struct RowScores {
  at::Tensor log_likelihood;  // of the token that came
  at::Tensor likeliest;       // int64; the first of equals
};

struct ComparedScores {
  RowScores model, reference;  // the latter undefined without a reference
  at::Tensor kl;               // KL(reference || model); undefined without a reference
};

// `hidden` [rows, hidden_size], last hidden states before the final norm; `targets` int64 [rows]. `reference` may be
// null.
[[nodiscard]] ComparedScores score_rows(Engine& model, const at::Tensor& hidden, Engine* reference,
                                        const at::Tensor& reference_hidden, const at::Tensor& targets);

}  // namespace arkit
