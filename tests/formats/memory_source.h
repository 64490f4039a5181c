#pragma once
// A model source made in memory, for cases no golden source has.

#include <arkit/model_source.h>

namespace arkit::test {

class MemoryWeights final : public WeightSource {
 public:
  void add(const std::string& name, const at::Tensor& tensor, std::string stored_type) {
    TensorInfo info{.name = name, .dtype = tensor.scalar_type(), .stored_type = std::move(stored_type)};
    info.shape = tensor.sizes().vec();
    infos_.push_back(info);
    tensors_.emplace(name, tensor);
  }
  [[nodiscard]] std::span<const TensorInfo> tensors() const override { return infos_; }
  [[nodiscard]] at::Tensor load(std::string_view name) const override { return tensors_.find(name)->second; }

 private:
  std::vector<TensorInfo> infos_;
  TensorMap tensors_;
};

class MemorySource final : public ModelSource {
 public:
  MemoryWeights memory;
  json::Object settings;
  std::vector<CompanionFile> files;

  [[nodiscard]] std::string kind() const override { return "memory"; }
  [[nodiscard]] const std::filesystem::path& path() const override { return path_; }
  [[nodiscard]] const json::Object& config() const override { return settings; }
  [[nodiscard]] const WeightSource& weights() const override { return memory; }
  [[nodiscard]] std::string tokenizer_json() const override { return {}; }
  [[nodiscard]] json::Object tokenizer_config() const override { return {}; }
  [[nodiscard]] std::vector<CompanionFile> companions() const override { return files; }

 private:
  std::filesystem::path path_ = "memory";
};

}  // namespace arkit::test
