#pragma once
// The true loss of an allocation: KL(float || quantized) of the next token over calibration samples, block by block,
// from the first block that differs from the allocation measured before.

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include <arkit/export.h>
#include <arkit/log.h>
#include <arkit/model_adapter.h>

#include "autoscheme/score.h"
#include "autoscheme/score_ends.h"
#include "autoscheme/score_weights.h"
#include "tuning/collect.h"
#include "tuning/context_cache.h"

namespace arkit::auto_scheme {

class ARKIT_INTERNAL KlMeter {
 public:
  // input_ids int64 [samples, seqlen]. Runs the float model once. Everything referred to outlives the meter, which
  // keeps what enters every block for one allocation and one trial, and rounded weights up to a GiB.
  KlMeter(Model& model, at::Tensor input_ids, std::span<const PoolLayer> pool, const SchemeFor& scheme_for,
          Reporter& reporter);

  // Mean over positions, all of them up to 2048 and then every n-th, in nats. The allocation becomes the one that later
  // calls start from when `keep` is set.
  [[nodiscard]] double measure(const Choice& choice, bool keep);

  [[nodiscard]] int64_t measurements() const noexcept { return measurements_; }

 private:
  struct Rounded {
    TensorQuant quant;
    at::Tensor global_scale, weight;
  };

  [[nodiscard]] int64_t first_difference(const Choice& choice) const;
  [[nodiscard]] at::Tensor rounded(const PoolBlock::Layer& layer, const PoolBlock::Rounding& rounding);
  void replace(QuantizedHook& hook, std::span<Linear* const> linears, const Choice& choice);
  void replace_tied_head(QuantizedHook& hook, const Choice& choice);
  [[nodiscard]] at::Tensor embedded(const Choice& choice);
  // What leaves the block for all samples.
  [[nodiscard]] at::Tensor run_block(int64_t block, const at::Tensor& input, BlockHook& hook);
  [[nodiscard]] double divergence(const at::Tensor& hidden, const Choice& choice);

  Model& model_;
  at::Tensor input_ids_;
  std::span<const PoolLayer> pool_;
  const SchemeFor& scheme_for_;
  Reporter& reporter_;
  std::unordered_map<std::string_view, size_t> by_name_;
  std::optional<size_t> table_;                   // in the pool
  std::optional<TokenRows> tokens_;               // where there is a table
  at::ScalarType compute_dtype_ = at::kBFloat16;  // of the model
  ContextCache contexts_;
  std::unordered_map<size_t, at::Tensor> act_max_;  // static activations, by index in the pool
  at::Tensor positions_;                            // rows of [samples * seqlen] that are measured, int64
  at::Tensor float_hidden_;                         // the float model's last output there, [positions, hidden]
  Choice kept_;
  std::vector<at::Tensor> inputs_;          // what enters each block under kept_, [samples, seqlen, hidden]
  std::multimap<size_t, Rounded> rounded_;  // by index in the pool
  int64_t rounded_bytes_ = 0;
  int64_t measurements_ = 0;
};

}  // namespace arkit::auto_scheme
