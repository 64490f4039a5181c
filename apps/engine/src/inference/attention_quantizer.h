#pragma once
// Keys, values and queries as an engine with static scales would have them: each number rounded to the grid of its type
// and scaled back. The cache itself keeps the compute type: what is reproduced are the values, not the memory saved.

#include <map>
#include <string>
#include <string_view>
#include <utility>

#include <ATen/core/Tensor.h>

#include <arkit/descriptors.h>
#include <arkit/export.h>
#include <arkit/model_adapter.h>
#include <arkit/model_source.h>
#include <arkit/registry.h>
#include <arkit/sdk/block_hooks.h>

#include "quant/attention_state.h"

namespace arkit {

class ARKIT_EXPORT AttentionQuantizer {
 public:
  // Reads the ranges of the source's attention_scales(); throws what reading them throws.
  AttentionQuantizer(const ModelSource& source, const Registry& registry);

  [[nodiscard]] bool empty() const noexcept { return modules_.empty(); }
  // x itself for a module or state without scales.
  [[nodiscard]] at::Tensor operator()(std::string_view module, AttentionState state, const at::Tensor& x) const;
  // The call with its query, key and value so rounded.
  [[nodiscard]] AttentionCall rounded(AttentionCall call) const;

 private:
  struct Module {
    AttentionQuant quant;
    AttentionRanges ranges;
  };
  const Registry& registry_;
  std::map<std::string, Module, std::less<>> modules_;
};

// Attention over a quantized cache: the wrapped hook gets rounded queries, keys and values, and keeps or attends to
// these. Both outlive it.
class QuantizedAttention final : public sdk::ForwardingHook {
 public:
  QuantizedAttention(BlockHook& inner, const AttentionQuantizer& quantizer)
      : ForwardingHook(inner), quantizer_(quantizer) {}
  at::Tensor attention(AttentionCall call) override { return inner_.attention(quantizer_.rounded(std::move(call))); }

 private:
  const AttentionQuantizer& quantizer_;
};

}  // namespace arkit
