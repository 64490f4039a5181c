#pragma once
// Logits of two models side by side, without either head in memory as a whole where its family can do without.

#include <ATen/core/Tensor.h>

#include <arkit/model_adapter.h>

namespace arkit {

// [..., vocab] in the model's dtype. `whole`: in one product, as hooks need it that replace the head.
[[nodiscard]] at::Tensor head_logits(const Model& model, const at::Tensor& hidden, BlockHook& hook, bool whole);

}  // namespace arkit
