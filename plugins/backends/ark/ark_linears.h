#pragma once
// Layers on one input, ready to run.

#include <vector>

#include <arkit/sdk/backend.h>

#include "layer_group.h"

namespace arkit::ark {

class ArkLinears final : public sdk::PreparedLinears {
 public:
  ArkLinears(const Kernels& kernels, int threads, ArkitType type, std::vector<ArkLayer> layers, int32_t levels,
             bool exact)
      : group_(kernels, std::move(layers), levels, exact), threads_(threads), type_(type) {}

  [[nodiscard]] int64_t bytes() const override { return static_cast<int64_t>(group_.bytes()); }
  [[nodiscard]] ArkitType x_type() const override { return type_; }
  void run(const sdk::TensorView& x, std::span<const sdk::TensorView> y, ArkitStream*) override;
  void save(const sdk::BlobSink& sink) const override;

 private:
  LayerGroup group_;
  int threads_;
  ArkitType type_;
};

}  // namespace arkit::ark
