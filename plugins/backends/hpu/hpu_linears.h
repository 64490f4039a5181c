#pragma once
// Layers on a device of LibTorch's, through the vendor's operator. The device is a parameter so that all of it but the
// operator runs wherever LibTorch has one.

#include <vector>

#include <ATen/core/Tensor.h>

#include "hpu_weight.h"

namespace arkit::hpu {

struct HpuLayer {
  HpuLayer(const HpuWeight& weight, const at::Device& device);
  at::Tensor codes, scales, zeros, bias;  // bias undefined = none
  int64_t outputs = 0;
};

class HpuLinears final : public sdk::PreparedLinears {
 public:
  HpuLinears(const at::Device& device, std::vector<HpuLayer> layers) : device_(device), layers_(std::move(layers)) {}
  [[nodiscard]] int64_t bytes() const override;
  [[nodiscard]] ArkitType x_type() const override { return ARKIT_BFLOAT16; }
  void run(const sdk::TensorView& x, std::span<const sdk::TensorView> y, ArkitStream* stream) override;

 private:
  at::Device device_;
  std::vector<HpuLayer> layers_;
};

}  // namespace arkit::hpu
