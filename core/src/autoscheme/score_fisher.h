#pragma once
// The default score: divergence from the float model to second order, for every option in one pass (ADR 0018).
//
// With labels drawn from the model's own distribution, g = d(sum of -log p(label)) / d y has mean zero and the second
// moment that the divergence has as its Hessian: with e_t = x_t W^T - xq_t Wq^T, the error that an option makes at
// position t, KL(float || quantized) of a sample is 1/2 E[(sum over t of g_t e_t)^2] to second order. That sum has one
// value a sample, far too few to average; so positions are squared one by one, and what they have in common is put
// back by a factor of the layer, measured on its gradients:
//   loss = coherence / (2 tokens) * sum over t of (g_t e_t)^2
//   coherence = sum over samples of |sum over t of g_t^T x_t|^2 / sum over t of |g_t|^2 |x_t|^2
// The first sum is taken over a part of the positions: one product of that size is all an option costs.

#include <memory>
#include <span>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "autoscheme/score.h"
#include "autoscheme/score_pass.h"
#include "autoscheme/score_weights.h"
#include "tuning/collect.h"

namespace arkit::auto_scheme {

class FisherScore final : public PassWork, private GradientObserver {
 public:
  // Everything referred to outlives the object. input_ids [samples, seqlen] as the pass has them; losses are written
  // into table.loss.
  FisherScore(Model& model, std::span<const PoolLayer> pool, const at::Tensor& input_ids, const SchemeFor& scheme_for,
              ScoreTable& table);

  BlockHook& forward_hook(int64_t block) override;
  ReplayHook& replay_hook(int64_t block) override;
  void replayed(int64_t block) override;

 private:
  // What the backward showed of one layer: some rows of x, dy and dx = dy W, and sums over all rows.
  struct Gathered {
    std::vector<at::Tensor> x, dy, dx;
    int64_t rows = 0, samples = 0;
    double coherent = 0.0, separate = 0.0;  // numerator and denominator of the coherence

    [[nodiscard]] double coherence() const;
  };
  struct Seen {  // by the forward
    Importance importance;
    at::Tensor act_max;
  };

  void begin(std::span<Linear* const> linears);
  void keep_statistics();
  void see(const Linear& layer, const at::Tensor& x, const at::Tensor& dy, const at::Tensor& dx) override;
  [[nodiscard]] at::Tensor some_rows(const at::Tensor& rows, int64_t samples_before) const;
  void add_coherence(Gathered& mine, const at::Tensor& x, const at::Tensor& dy);
  void score_layer(size_t place, std::span<const PoolBlock::Rounding> by_option);

  Model& model_;
  std::span<const PoolLayer> pool_;
  int64_t tokens_, seqlen_, stride_;
  const SchemeFor& scheme_for_;
  ScoreTable& table_;
  std::unordered_map<std::string_view, size_t> by_name_;

  std::unordered_map<size_t, Seen> seen_;  // by index in the pool
  std::unique_ptr<StatisticsHook> statistics_;
  std::vector<std::pair<const Linear*, size_t>> watched_;

  std::unique_ptr<PoolBlock> block_;                  // at hand in the backward
  std::unordered_map<const Linear*, size_t> places_;  // in block_->layers() and gathered_
  std::vector<Gathered> gathered_;
  at::Tensor last_x_, last_some_, last_products_;  // q, k and v have one input, whose rows are kept once
  ReplayHook replay_;
};

}  // namespace arkit::auto_scheme
