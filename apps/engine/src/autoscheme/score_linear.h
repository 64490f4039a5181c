#pragma once
// Linear layers of a replayed block: y = x W^T + b without a graph of the weight's size, and a look at the gradients as
// they pass.

#include <unordered_map>

#include <ATen/core/Tensor.h>

#include <arkit/model_adapter.h>

#include "tuning/collect.h"

namespace arkit::auto_scheme {

// Told of every linear layer in backward. x [rows, in], dy = d loss / d y [rows, out], dx = d loss / d x through this
// layer alone [rows, in], in the compute dtype; valid during the call only.
class GradientObserver {
 public:
  virtual ~GradientObserver() = default;
  virtual void see(const Linear& layer, const at::Tensor& x, const at::Tensor& dy, const at::Tensor& dx) = 0;
};

// Runs layers with their own weights or with replacements. The observer and the layers outlive the backward pass.
class ReplayHook final : public DenseHook {
 public:
  explicit ReplayHook(GradientObserver& observer) : observer_(observer) {}
  void replace(const Linear* layer, at::Tensor weight) { weights_[layer] = std::move(weight); }
  void clear() { weights_.clear(); }
  at::Tensor linear(const Linear& layer, const at::Tensor& x) override;

 private:
  GradientObserver& observer_;
  std::unordered_map<const Linear*, at::Tensor> weights_;
};

}  // namespace arkit::auto_scheme
