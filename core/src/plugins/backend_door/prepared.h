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

// What prepare() gave; ended with this.
class Unit {
 public:
  Unit(std::shared_ptr<const Calls> calls, const OpenDevice& device, const ArkitUnit& unit,
       std::span<const LayerWeights> layers, std::span<const ArkitTensor* const> norms, at::ScalarType compute_dtype,
       const at::Tensor& blob);
  ~Unit();
  Unit(const Unit&) = delete;
  Unit& operator=(const Unit&) = delete;

  [[nodiscard]] const Calls& calls() const noexcept { return *calls_; }
  [[nodiscard]] ArkitPrepared* prepared() const noexcept { return prepared_; }
  [[nodiscard]] const ArkitPreparedInfo& info() const noexcept { return info_; }
  void save(const PreparedUnit::Write& write) const;

 private:
  std::shared_ptr<const Calls> calls_;  // keeps the backend open
  ArkitPrepared* prepared_ = nullptr;
  ArkitPreparedInfo info_{};
};

class PreparedLinears final : public QuantLinear {
 public:
  PreparedLinears(std::shared_ptr<const Calls> calls, std::shared_ptr<const OpenDevice> device,
                  std::span<const LayerWeights> layers, at::ScalarType compute_dtype, const at::Tensor& blob);
  std::vector<at::Tensor> forward_all(const at::Tensor& x) const override;
  int64_t bytes() const override { return unit_.info().bytes; }
  void save(const Write& write) const override { unit_.save(write); }

 private:
  void run_here(const at::Tensor& x, std::span<const at::Tensor> y, int64_t rows) const;
  void run_there(const at::Tensor& x, std::span<const at::Tensor> y, int64_t rows) const;
  void run(const ArkitTensor& x, std::span<const ArkitTensor* const> y, ArkitStream* stream) const;

  std::shared_ptr<const OpenDevice> device_;
  Unit unit_;
  at::ScalarType x_type_ = at::kFloat, y_type_ = at::kFloat;
  int64_t in_features_ = 0;
  std::vector<int64_t> out_features_;  // of each layer
};

class PreparedBlock final : public QuantBlock {
 public:
  PreparedBlock(std::shared_ptr<const Calls> calls, const OpenDevice& device, const BlockWeights& block,
                at::ScalarType compute_dtype, const at::Tensor& blob);
  void run(const BlockStep& step) const override;
  int64_t bytes() const override { return unit_->info().bytes; }
  void save(const Write& write) const override { unit_->save(write); }

 private:
  std::unique_ptr<Unit> unit_;
  at::ScalarType x_type_ = at::kFloat;
};

}  // namespace arkit::backend_door
