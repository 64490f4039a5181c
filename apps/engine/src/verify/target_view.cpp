#include "verify/target_view.h"

#include <algorithm>
#include <utility>

#include <arkit/error.h>
#include <arkit/scheme.h>
#include <arkit/str.h>

namespace arkit {
namespace {

bool belongs_to(std::string_view tensor, std::string_view layer) {
  return !layer.empty() && tensor.substr(0, tensor.rfind('.')) == layer;
}

class ViewWeights final : public WeightSource {
 public:
  ViewWeights(const WeightSource& weights, std::string_view left_out) : weights_(weights) {
    for (const TensorInfo& info : weights.tensors())
      if (!belongs_to(info.name, left_out)) tensors_.push_back(info);
  }
  std::span<const TensorInfo> tensors() const override { return tensors_; }
  at::Tensor load(std::string_view name) const override {
    if (find(name) == nullptr) throw_input(str("no tensor named '", printable(name), "'"));
    return weights_.load(name);
  }
  void release(std::string_view name) const noexcept override { weights_.release(name); }

 private:
  const WeightSource& weights_;
  std::vector<TensorInfo> tensors_;
};

class View final : public ModelSource {
 public:
  View(const ModelSource& source, json::Object config, std::string_view left_out)
      : source_(source), config_(std::move(config)), weights_(source.weights(), left_out) {
    for (const LinearSpec& layer : source.packed_layers())
      if (layer.name != left_out) layers_.push_back(layer);
  }

  std::string kind() const override { return source_.kind(); }
  const std::filesystem::path& path() const override { return source_.path(); }
  const json::Object& config() const override { return config_; }
  const WeightSource& weights() const override { return weights_; }
  std::string tokenizer_json() const override { return source_.tokenizer_json(); }
  json::Object tokenizer_config() const override { return source_.tokenizer_config(); }
  std::vector<CompanionFile> companions() const override { return source_.companions(); }
  std::span<const LinearSpec> packed_layers() const override { return layers_; }
  TensorMap packed_tensors(std::string_view layer) const override { return source_.packed_tensors(layer); }
  QuantizedWeight unpack(std::string_view layer) const override { return source_.unpack(layer); }
  std::span<const AttentionSpec> attention_specs() const override { return source_.attention_specs(); }
  AttentionRanges attention_ranges(std::string_view module) const override { return source_.attention_ranges(module); }
  std::shared_ptr<const InputRotation> input_rotation(std::string_view layer) const override {
    return source_.input_rotation(layer);
  }
  std::shared_ptr<const InputRotation> query_key_rotation() const override { return source_.query_key_rotation(); }
  json::Object rotation_config() const override { return source_.rotation_config(); }
  TensorMap rotation_tensors(std::string_view layer) const override { return source_.rotation_tensors(layer); }

 private:
  const ModelSource& source_;
  json::Object config_;
  ViewWeights weights_;
  std::vector<LinearSpec> layers_;
};

}  // namespace

std::unique_ptr<ModelSource> view_as(const ModelSource& source, json::Object config, std::string_view left_out) {
  return std::make_unique<View>(source, std::move(config), left_out);
}

}  // namespace arkit
