#include "inference/token_scores.h"

#include <algorithm>
#include <tuple>

#include <ATen/ATen.h>

namespace arkit {

std::vector<ScoredToken> score_tokens(const at::Tensor& logits, const std::vector<ScoreWish>& wishes) {
  std::vector<ScoredToken> scores;
  if (wishes.empty()) return scores;
  std::vector<int64_t> rows;
  int64_t most = 0;
  for (const ScoreWish& wish : wishes) {
    rows.push_back(wish.row);
    most = std::max(most, wish.likeliest);
  }
  most = std::min(most, logits.size(1));
  const at::Tensor some = logits.index_select(0, at::tensor(rows, at::kLong));
  const at::Tensor sums = some.logsumexp(1);
  at::Tensor values, ids;
  if (most == 1)
    std::tie(values, ids) = some.max(1, true);
  else if (most > 1)
    std::tie(values, ids) = some.topk(most, 1);
  const auto row_of = some.accessor<float, 2>();
  const auto sum_of = sums.accessor<float, 1>();
  for (size_t i = 0; i < wishes.size(); ++i) {
    const auto row = static_cast<int64_t>(i);
    const int64_t token = wishes[i].token;
    ScoredToken score{.own = {token, row_of[row][token] - sum_of[row]}, .likeliest = {}};
    for (int64_t k = 0; k < std::min(wishes[i].likeliest, most); ++k) {
      const int64_t at = row * most + k;
      score.likeliest.push_back({ids.const_data_ptr<int64_t>()[at], values.const_data_ptr<float>()[at] - sum_of[row]});
    }
    scores.push_back(std::move(score));
  }
  return scores;
}

}  // namespace arkit
