#pragma once
// The loss of SignRound between a block's output and its reference output (docs/spec/signround.md 6 and 10), with its
// gradient in closed form: no autograd nodes for the loss itself.

#include <cstdint>
#include <optional>
#include <span>

#include <ATen/core/Tensor.h>

#include <arkit/descriptors.h>

namespace arkit {

enum class LossKind {
  squared_error,
  outlier_free,  // the largest thousandth of |pred - ref| is dropped
};

struct LossSettings {
  LossKind kind = LossKind::squared_error;
  bool sum = false;  // sum over elements instead of their mean; outlier_free is always a mean
};

// The gradient is scaled by this, as in the reference, against underflow in low-precision steps of the chain.
inline constexpr float kLossScale = 1000.0F;

// Loss of pred [b, seqlen, width] against targets[samples[i]] of targets [n, seqlen, width], same dtype (f32 or bf16),
// contiguous. mask (u8 [n, seqlen], 0 = position does not count; undefined = all count). Writes kLossScale times the
// gradient into `gradient` (allocated when its shape differs).
[[nodiscard]] ARKIT_EXPORT double block_loss(const at::Tensor& pred, const at::Tensor& targets, const at::Tensor& mask,
                                             std::span<const int64_t> samples, const LossSettings& settings,
                                             at::Tensor& gradient);

// Positions that count, from token ids [n, seqlen]: not pad (without a pad token: not in the run of equal tokens that
// ends the sample) and never the last. Undefined when every position counts, which cannot happen for seqlen > 0.
[[nodiscard]] ARKIT_EXPORT at::Tensor loss_mask(const at::Tensor& token_ids, std::optional<int64_t> pad_token_id);

}  // namespace arkit
