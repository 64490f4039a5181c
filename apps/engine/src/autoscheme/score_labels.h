#pragma once
// The loss at the head and its gradient: d loss / d logits = (softmax(logits) - one_hot(label)) * weight.

#include <cstdint>
#include <random>

#include <ATen/core/Tensor.h>

#include "autoscheme/score_pass.h"

namespace arkit::auto_scheme {

// Gives gradients row by row; sampled labels follow from the seed and the rows' order alone.
class LabelSource {
 public:
  LabelSource(Labels kind, uint64_t seed) : kind_(kind), random_(seed) {}

  // d loss / d logits, in logits' dtype, for logits [rows, vocab] of consecutive positions that begin at `first` of
  // ids int64 [samples * seqlen]. For Labels::next_token the loss is the mean over the batch's positions that have a
  // successor, of which there are `counted`.
  [[nodiscard]] at::Tensor gradient(const at::Tensor& logits, const at::Tensor& ids, int64_t first, int64_t seqlen,
                                    int64_t counted);

 private:
  Labels kind_;
  std::mt19937_64 random_;
};

}  // namespace arkit::auto_scheme
