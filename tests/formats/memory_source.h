#pragma once
// A model source made in memory, for cases no golden source has.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <arkit/model_source.h>

namespace arkit::test {

class MemoryWeights final : public WeightSource {
 public:
  MemoryWeights(std::vector<TensorInfo> infos, TensorMap tensors) : tensors_(std::move(tensors)) {
    set_tensors(std::move(infos));
  }
  [[nodiscard]] at::Tensor load(std::string_view name) const override { return tensors_.find(name)->second; }

 private:
  TensorMap tensors_;
};

// Tensors until the source is asked for them.
class MemoryTensors {
 public:
  void add(const std::string& name, const at::Tensor& tensor, std::string stored_type) {
    TensorInfo info{.name = name, .dtype = tensor.scalar_type(), .stored_type = std::move(stored_type)};
    info.shape = tensor.sizes().vec();
    infos_.push_back(info);
    tensors_.emplace(name, tensor);
  }
  [[nodiscard]] const WeightSource& weights() const {
    if (weights_ == nullptr || weights_->tensors().size() != infos_.size())
      weights_ = std::make_unique<MemoryWeights>(infos_, tensors_);
    return *weights_;
  }

 private:
  std::vector<TensorInfo> infos_;
  mutable std::unique_ptr<MemoryWeights> weights_;
  TensorMap tensors_;
};

class MemorySource final : public ModelSource {
 public:
  MemoryTensors memory;
  json::Object settings;
  std::vector<CompanionFile> files;

  [[nodiscard]] std::string kind() const override { return "memory"; }
  [[nodiscard]] const std::filesystem::path& path() const override { return path_; }
  [[nodiscard]] const json::Object& config() const override { return settings; }
  [[nodiscard]] const WeightSource& weights() const override { return memory.weights(); }
  [[nodiscard]] std::vector<CompanionFile> companions() const override { return files; }

 private:
  std::filesystem::path path_ = "memory";
};

}  // namespace arkit::test
