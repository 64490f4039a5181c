#include "verify/target_view.h"

#include <algorithm>
#include <utility>

#include <arkit/error.h>
#include <arkit/scheme.h>
#include <arkit/str.h>

namespace arkit {
namespace {

constexpr std::string_view kHead = "lm_head";

bool belongs_to_head(std::string_view tensor) {
  return tensor.substr(0, tensor.rfind('.')) == kHead;
}

class ViewWeights final : public WeightSource {
 public:
  ViewWeights(const WeightSource& weights, bool with_head) : weights_(weights) {
    for (const TensorInfo& info : weights.tensors())
      if (with_head || !belongs_to_head(info.name)) tensors_.push_back(info);
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
  View(const ModelSource& source, json::Object config, bool with_head)
      : source_(source), config_(std::move(config)), weights_(source.weights(), with_head) {
    for (const LinearSpec& layer : source.packed_layers())
      if (with_head || layer.name != kHead) layers_.push_back(layer);
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

std::unique_ptr<ModelSource> view_as(const ModelSource& source, json::Object config, bool with_head) {
  return std::make_unique<View>(source, std::move(config), with_head);
}

}  // namespace arkit
