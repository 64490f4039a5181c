#pragma once
// How likely tokens are by rows of logits.

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include <arkit/engine/session.h>

namespace arkit {

struct ScoreWish {
  int64_t row = 0;
  int64_t token = 0;      // is scored there
  int64_t likeliest = 0;  // and so many others
};

// One for each wish. `logits` float32 [rows, vocab]; may be undefined without wishes. A token's own score and that in
// `likeliest` are the same number.
[[nodiscard]] std::vector<ScoredToken> score_tokens(const at::Tensor& logits, const std::vector<ScoreWish>& wishes);

}  // namespace arkit
