#pragma once
// AutoRound 0.16.1's score (docs/spec/auto-scheme.md 5): the gradient of the calibration loss of the model that is
// rounded throughout, times the rounding errors of the weights, in absolute values. One pass an option.

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

#include "autoscheme/score.h"
#include "autoscheme/score_pass.h"
#include "autoscheme/score_weights.h"

namespace arkit::auto_scheme {

class CompatScore final : public PassWork, private GradientObserver {
 public:
  // Everything referred to outlives the object. Scores are added to table.loss[.][option].
  CompatScore(Model& model, std::span<const PoolLayer> pool, size_t option, const SchemeFor& scheme_for,
              ScoreTable& table);

  BlockHook& forward_hook(int64_t block) override;
  ReplayHook& replay_hook(int64_t block) override;
  void replayed(int64_t block) override;

 private:
  class Forward;
  [[nodiscard]] static std::string scale_dtype(const LayerQuant& quant);
  void round(std::span<Linear* const> linears);
  void see(const Linear& layer, const at::Tensor& x, const at::Tensor& dy, const at::Tensor& dx) override;

  struct Rounded {
    size_t index = 0;
    at::Tensor weight;
  };
  Model& model_;
  std::span<const PoolLayer> pool_;
  size_t option_;
  const SchemeFor& scheme_for_;
  ScoreTable& table_;
  std::unordered_map<std::string_view, size_t> by_name_;
  std::unordered_map<const Linear*, Rounded> rounded_;  // layers of the block at hand
  std::unique_ptr<BlockHook> forward_;
  ReplayHook replay_;
};

}  // namespace arkit::auto_scheme
