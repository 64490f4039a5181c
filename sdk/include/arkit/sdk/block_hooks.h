#pragma once
// Hooks that others are made of. One that changes an operation derives from ForwardingHook and wraps another; one that
// stands at the end of a chain derives from PlainHook.

#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include <arkit/model_adapter.h>

namespace arkit::sdk {

// A model by itself: full precision, and every sequence begins with this forward. Differentiable.
class PlainHook : public BlockHook {
 public:
  at::Tensor attention(AttentionCall call) override;
  at::Tensor mix_state(const StateCall& call) override;
};

// Another hook, which outlives this one. Whoever overrides linear() overrides linears() as well, or it is passed by.
class ForwardingHook : public BlockHook {
 public:
  explicit ForwardingHook(BlockHook& inner) : inner_(inner) {}
  at::Tensor linear(const Linear& layer, const at::Tensor& x) override { return inner_.linear(layer, x); }
  std::vector<at::Tensor> linears(std::span<const Linear* const> layers, const at::Tensor& x) override {
    return inner_.linears(layers, x);
  }
  at::Tensor norm_weight(std::string_view name, const at::Tensor& weight) override {
    return inner_.norm_weight(name, weight);
  }
  at::Tensor attention(AttentionCall call) override { return inner_.attention(std::move(call)); }
  at::Tensor mix_state(const StateCall& call) override { return inner_.mix_state(call); }

 protected:
  BlockHook& inner_;
};

}  // namespace arkit::sdk
