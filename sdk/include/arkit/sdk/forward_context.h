#pragma once
// What Model::context of every family fills in alike, and the attention masks that hooks make of it.

#include <cstdint>
#include <span>

#include <ATen/core/Tensor.h>

#include <arkit/model_adapter.h>

namespace arkit::sdk {

// All but the tables; arguments as in Model::context, whose shapes it checks.
[[nodiscard]] ForwardContext forward_context(int64_t batch, int64_t seqlen, const at::Tensor& attention_mask,
                                             const at::Tensor& position_ids, std::span<const SequenceSpan> sequences);

// attention_mask (attention.h) of `count` queries behind `past` keys, made once a forward.
[[nodiscard]] const at::Tensor& shared_mask(const ForwardContext& forward, int64_t past, int64_t count, int64_t window,
                                            at::ScalarType dtype);

}  // namespace arkit::sdk
