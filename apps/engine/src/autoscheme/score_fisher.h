#pragma once
// The default score: divergence from the float model to second order, for every option in one pass (ADR 0018).
//
// With labels drawn from the model's own distribution, g = d(sum of -log p(label)) / d(anything) has mean zero and the
// second moment that the divergence has as its Hessian: KL(float || quantized) of a sample is 1/2 E[(sum of g *
// error)^2] to second order. That sum has one value a sample, far too few to average. Rounding errors of different
// weights, and of different activations, are taken as independent, which leaves sums of squares over all of them:
//   loss = 1/(2 tokens) * (sum_ij F_ij (W - Wq)_ij^2 + sum_ti (dx_ti (x - xq)_ti)^2),  F = sum over samples of dW^2
// where dW = dy^T x (of every second sample) and dx = dy W. Everything an option needs is its rounding and one pass
// over it: no matrix product. The head and the table of embeddings are EndScore's.

#include <memory>
#include <span>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "autoscheme/score.h"
#include "autoscheme/score_ends.h"
#include "autoscheme/score_pass.h"
#include "autoscheme/score_weights.h"
#include "tuning/collect.h"

namespace arkit::auto_scheme {

class FisherScore final : public PassWork, private GradientObserver {
 public:
  // Everything referred to outlives the object. input_ids [samples, seqlen] as the pass has them; losses are written
  // into table.loss.
  FisherScore(Model& model, std::span<const PoolLayer> pool, const at::Tensor& input_ids, const ScoreSettings& settings,
              const SchemeFor& scheme_for, ScoreTable& table);

  BlockHook& forward_hook(int64_t block) override;
  ReplayHook& replay_hook(int64_t block) override;
  void replayed(int64_t block) override;
  void embedded(const at::Tensor& gradient) override { ends_.score_table(gradient); }

 private:
  // One way the inputs of a layer are quantized, and the options that ask for it.
  struct Activation {
    TensorQuant quant;
    const Scheme* scheme = nullptr;
    std::vector<size_t> options;
    double sum = 0.0;  // of (dx (x - xq))^2
    int64_t rows = 0;  // of x before
  };
  struct Layer {
    at::Tensor fisher;               // F over the samples taken, f32 [out, in]; undefined for the head
    int64_t samples = 0, taken = 0;  // that came by; whose gradient was taken
    std::vector<Activation> activations;
  };
  struct Seen {  // by the forward
    Importance importance;
    at::Tensor act_max;
  };

  void begin(std::span<Linear* const> linears);
  [[nodiscard]] Layer layer_of(const PoolBlock::Layer& layer) const;
  void keep_statistics();
  void see(const Linear& layer, const at::Tensor& x, const at::Tensor& dy, const at::Tensor& dx) override;
  [[nodiscard]] at::Tensor some_rows(const at::Tensor& rows, int64_t before) const;
  void add_weight_gradient(Layer& mine, const Linear& layer, const at::Tensor& x, const at::Tensor& dy);
  void add_activation_error(Activation& activation, size_t index, const at::Tensor& x, const at::Tensor& dx);
  void score_weights(size_t option);

  Model& model_;
  std::span<const PoolLayer> pool_;
  int64_t tokens_, seqlen_, stride_, sample_stride_;
  const SchemeFor& scheme_for_;
  ScoreTable& table_;
  std::unordered_map<std::string_view, size_t> by_name_;
  EndScore ends_;

  std::unordered_map<size_t, Seen> seen_;  // by index in the pool
  std::unique_ptr<StatisticsHook> statistics_;
  std::vector<std::pair<const Linear*, size_t>> watched_;

  std::unique_ptr<PoolBlock> block_;                  // at hand in the backward
  std::unordered_map<const Linear*, size_t> places_;  // in layers_ and block_->layers()
  std::vector<Layer> layers_;
  at::Tensor scratch_;                            // f32, as large as the largest weight of the block
  at::Tensor last_x_, last_rows_, last_rounded_;  // q, k and v have one input: it is rounded once
  TensorQuant last_quant_;
  ReplayHook replay_;
};

}  // namespace arkit::auto_scheme
