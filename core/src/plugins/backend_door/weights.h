#pragma once
// A layer's weights as the door gives them, one tensor at a time and only when asked.

#include <deque>
#include <exception>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <arkit/backend_c.h>
#include <arkit/inference_backend.h>
#include <arkit/scheme.h>

namespace arkit::backend_door {

// Refers to `weights`, which outlives it.
class WeightsDescription {
 public:
  explicit WeightsDescription(const LayerWeights& weights);
  WeightsDescription(const WeightsDescription&) = delete;
  WeightsDescription& operator=(const WeightsDescription&) = delete;

  [[nodiscard]] const ArkitWeights& weights() const noexcept { return described_; }
  // What stopped a function that the backend called; null = nothing did.
  [[nodiscard]] const std::exception_ptr& error() const noexcept { return error_; }

 private:
  template <typename Get>
  ArkitStatus give(ArkitTensor* out, Get&& get) noexcept;
  [[nodiscard]] at::Tensor packed(const std::string& name) const;
  [[nodiscard]] at::Tensor unpacked(const std::string& name);
  [[nodiscard]] at::Tensor dense(ArkitType type) const;

  const LayerWeights& weights_;
  std::optional<QuantizedWeight> codes_;
  std::vector<const char*> names_;
  std::deque<at::Tensor> given_;  // alive until the backend has been prepared
  std::exception_ptr error_;
  ArkitWeights described_{};
};

}  // namespace arkit::backend_door
