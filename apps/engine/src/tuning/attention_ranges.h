#pragma once
// Ranges of keys, values and queries over the calibration samples (docs/spec/calibration.md 10).

#include <array>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include <arkit/descriptors.h>
#include <arkit/export.h>
#include <arkit/model_adapter.h>
#include <arkit/model_source.h>
#include <arkit/sdk/block_hooks.h>

#include "quant/attention_state.h"

namespace arkit {

// Calibrating attention: sees what the wrapped hook computes with.
class ARKIT_EXPORT AttentionRangeCollector final : public sdk::ForwardingHook {
 public:
  // A `quant` that quantizes nothing: collects nothing.
  AttentionRangeCollector(BlockHook& inner, const AttentionQuant& quant) : ForwardingHook(inner), quant_(quant) {}

  [[nodiscard]] bool wanted() const noexcept { return quant_.quantized(); }
  at::Tensor attention(AttentionCall call) override;
  // One batch of a state, [batch, heads, positions, head_dim].
  void see(std::string_view module, AttentionState state, const at::Tensor& x);
  // What the rest of the block sees instead while it is calibrated: keys and values in fp8 are rounded with the batch's
  // own range, as in the reference; everything else stays as it is.
  [[nodiscard]] at::Tensor served(AttentionState state, const at::Tensor& x) const;
  // In the order of the modules' names; states never seen stay undefined.
  [[nodiscard]] std::vector<AttentionRanges> result() const;

 private:
  struct Range {
    at::Tensor low, high;  // f32 [1] or [heads], zero included
  };
  AttentionQuant quant_;
  std::map<std::string, std::array<Range, 3>, std::less<>> seen_;  // by AttentionState
};

}  // namespace arkit
