#pragma once
// A linear layer that gives the same bits on every machine (fixed_order.h), and the hook that uses it.

#include <ATen/core/Tensor.h>

#include <arkit/model_adapter.h>
#include <arkit/sdk/block_hooks.h>

namespace arkit {

// x [..., in] f32, weight [out, in] f32 or bf16 -> f32 [..., out] = x W^T + bias; bias may be undefined. No autograd.
[[nodiscard]] at::Tensor fixed_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

class FixedOrderHook final : public sdk::PlainHook {
 public:
  at::Tensor linear(const Linear& layer, const at::Tensor& x) override {
    return fixed_linear(x, layer.weight, layer.bias);
  }
};

}  // namespace arkit
