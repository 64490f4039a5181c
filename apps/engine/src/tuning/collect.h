#pragma once
// Forwards over all calibration samples, and the hooks that watch or replace the linears of a block on the way.

#include <map>
#include <span>
#include <string>
#include <unordered_map>

#include <ATen/core/Tensor.h>

#include <arkit/descriptors.h>
#include <arkit/export.h>
#include <arkit/model_adapter.h>
#include <arkit/scheme.h>
#include <arkit/sdk/block_hooks.h>

#include "tuning/tune_block.h"

namespace arkit {

// Full precision through the fastest matrix product of this CPU.
class ARKIT_EXPORT DenseHook : public sdk::PlainHook {
 public:
  at::Tensor linear(const Linear& layer, const at::Tensor& x) override;
};

// What calibration knows of a layer's input.
struct InputStatistics {
  at::Tensor imatrix;  // f32 [in], sum of x^2 over all tokens
  int64_t count = 0;   // sum of the inputs' first dimensions: samples for [b, seqlen, in], tokens for experts
  int64_t tokens = 0;
  at::Tensor act_max;    // f32 [1], max |x|
  at::Tensor low, high;  // moving averages of the batches' smallest and largest values, zero included
};

// Does quantizing this activation need a calibrated maximum: static scales, or a static global scale
// (docs/spec/calibration.md 9)?
[[nodiscard]] ARKIT_EXPORT bool wants_act_max(const TensorQuant& act);

struct StatisticsWanted {
  bool imatrix = false, act_max = false;
  bool moving = false;  // act_max from moving averages over the batches (observer "minmax")
  [[nodiscard]] bool any() const noexcept { return imatrix || act_max; }
};

// Gathers statistics of the given layers' inputs during full-precision forwards.
class ARKIT_EXPORT StatisticsHook final : public DenseHook {
 public:
  void watch(const Linear* layer, StatisticsWanted wanted) { wanted_[layer] = wanted; }
  at::Tensor linear(const Linear& layer, const at::Tensor& x) override;
  void see(const Linear& layer, const at::Tensor& x);  // linear() without the product
  // Undefined tensors for a layer that saw no input (an expert without tokens).
  [[nodiscard]] InputStatistics of(const Linear* layer) const;

 private:
  std::unordered_map<const Linear*, StatisticsWanted> wanted_;
  std::unordered_map<const Linear*, InputStatistics> seen_;
  at::Tensor last_input_, last_squares_;  // q, k and v have one input: its squares are summed once
};

// The block as it will be served: quantized weights, quantized activations, tuned norms.
class ARKIT_EXPORT QuantizedHook final : public DenseHook {
 public:
  struct Layer {
    at::Tensor weight, bias;  // bias undefined = the layer's own
    const Scheme* act_scheme = nullptr;
    TensorQuant act;
    at::Tensor act_max;
  };
  void replace(const Linear* linear, Layer layer) { layers_[linear] = std::move(layer); }
  void replace_norm(const std::string& name, const at::Tensor& weight) { norms_[name] = weight; }
  at::Tensor linear(const Linear& layer, const at::Tensor& x) override;
  at::Tensor norm_weight(std::string_view name, const at::Tensor& weight) override;

 private:
  std::unordered_map<const Linear*, Layer> layers_;
  std::map<std::string, at::Tensor, std::less<>> norms_;
};

// out[s] = forward(in[s]) for every sample s, `batch` at a time, without autograd. `out` may be `in`. Throws
// ErrorCode::input naming the first layer whose output is not finite (`what` if it is none) when a result is not.
ARKIT_EXPORT void run_samples(const BlockForward& forward, const at::Tensor& in, const at::Tensor& out, int64_t batch,
                              BlockHook& hook, std::string_view what = "the model");

}  // namespace arkit
