#pragma once
// Losses of the two ends of a model, whose matrices are as large as the vocabulary (ADR 0062): the table that tokens are
// looked up in and the head. Both in nats a token, as all losses of the default score.
//
//   head    KL(softmax(f(x W^T)) || softmax(f(x Wq^T))), the mean over at most 512 positions of the samples: what the
//           head's rounding does to the output when nothing else is rounded, without an estimate in between. f is what
//           the model does to logits (division, softcap).
//   table   1/(2 tokens) * sum_vj F_vj (E - Eq)_vj^2,  F_vj = sum over samples of (sum of g_j where the token is v)^2,
//           g = gradient of the likelihood of sampled labels with respect to what enters the first block: the formula of
//           ADR 0018, in which a token counts as often as the samples have it.
//
// Strips of the vocabulary pass one by one; only rows of tokens that the samples have are rounded of the table.

#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include <arkit/export.h>
#include <arkit/model_adapter.h>

#include "autoscheme/score.h"
#include "autoscheme/score_weights.h"

namespace arkit::auto_scheme {

// The table in the pool, and the layer of the pool whose options the head gets: its own, or the table where the model
// ties the two. Nothing = it keeps its weight. The model must have its ends loaded.
[[nodiscard]] std::optional<size_t> table_in(std::span<const PoolLayer> pool);
[[nodiscard]] std::optional<size_t> head_in(std::span<const PoolLayer> pool, Model& model);

// Embedded tokens with a rounded table.
class ARKIT_INTERNAL TokenRows {
 public:
  // ids int64 of any shape. Needs load_rest. Keeps one row for each token of `ids`, f32.
  TokenRows(const Model& model, const at::Tensor& ids);
  [[nodiscard]] const at::Tensor& rows() const noexcept { return rows_; }      // [tokens, hidden]
  [[nodiscard]] const at::Tensor& places() const noexcept { return places_; }  // int64, like ids: rows of rows()
  // Rows as the plan's quant has them. Formats that quantize tables have rows that do not depend on each other.
  [[nodiscard]] at::Tensor rounded(const LayerPlan& plan, const SchemeFor& scheme_for) const;
  // Like ids, and hidden behind: rows looked up.
  [[nodiscard]] at::Tensor embed(const at::Tensor& rows, at::ScalarType dtype) const;

 private:
  at::Tensor rows_, places_;
};

class EndScore {
 public:
  // Everything referred to outlives the object.
  EndScore(Model& model, std::span<const PoolLayer> pool, const at::Tensor& input_ids, const ScoreSettings& settings,
           const SchemeFor& scheme_for, ScoreTable& table);

  // Before the head sees anything, with the ends loaded.
  void begin_head();
  // From begin_head to score_head: is this the head, and in the pool?
  [[nodiscard]] bool is_head(const Linear& layer) const { return &layer == at_hand_; }
  // What enters the head, rows [n, hidden] of consecutive positions.
  void see_head(const at::Tensor& x);
  // Adds the head's losses; the ends are loaded.
  void score_head();
  // Adds the table's losses. gradient [samples, seqlen, hidden] as above; loads the ends and releases them.
  void score_table(const at::Tensor& gradient);

 private:
  class RoundedHead;
  [[nodiscard]] at::Tensor logits(const at::Tensor& products) const;  // f
  [[nodiscard]] std::vector<double> head_losses(const std::vector<size_t>& options);

  Model& model_;
  std::span<const PoolLayer> pool_;
  at::Tensor input_ids_;
  const ScoreSettings settings_;
  const SchemeFor& scheme_for_;
  ScoreTable& table_;
  std::optional<size_t> head_;                  // in the pool
  const Linear* at_hand_ = nullptr;             // the head while it is scored
  int64_t seqlen_ = 1, stride_ = 1, seen_ = 0;  // positions of the head's input
  std::vector<at::Tensor> inputs_;              // of the positions taken
};

}  // namespace arkit::auto_scheme
