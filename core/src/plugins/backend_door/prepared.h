#pragma once
// Layers that a backend has made ready: tensors in, tensors out, whatever memory lies between.

#include <memory>
#include <vector>

#include <arkit/inference_backend.h>

#include "plugins/backend_door/lanes.h"

namespace arkit::backend_door {

// A device of an open backend.
struct OpenDevice {
  const ArkitDevice* shown = nullptr;  // the backend's
  BackendDevice description;
  std::unique_ptr<Lanes> lanes;
};

class PreparedLinears final : public QuantLinear {
 public:
  PreparedLinears(std::shared_ptr<const Calls> calls, std::shared_ptr<const OpenDevice> device,
                  std::span<const LayerWeights> layers, at::ScalarType compute_dtype, const at::Tensor& blob);
  ~PreparedLinears() override;
  PreparedLinears(const PreparedLinears&) = delete;
  PreparedLinears& operator=(const PreparedLinears&) = delete;

  std::vector<at::Tensor> forward_all(const at::Tensor& x) const override;
  int64_t bytes() const override { return info_.bytes; }
  void save(const Write& write) const override;

 private:
  void run_here(const at::Tensor& x, std::span<const at::Tensor> y, int64_t rows) const;
  void run_there(const at::Tensor& x, std::span<const at::Tensor> y, int64_t rows) const;
  void run(const ArkitTensor& x, std::span<const ArkitTensor* const> y, ArkitStream* stream) const;

  std::shared_ptr<const Calls> calls_;  // keeps the backend open
  std::shared_ptr<const OpenDevice> device_;
  ArkitPrepared* prepared_ = nullptr;
  ArkitPreparedInfo info_{};
  at::ScalarType x_type_ = at::kFloat, y_type_ = at::kFloat;
  int64_t in_features_ = 0;
  std::vector<int64_t> out_features_;  // of each layer
};

}  // namespace arkit::backend_door
