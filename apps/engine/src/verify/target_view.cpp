#include "verify/target_view.h"

#include <algorithm>
#include <utility>

#include <arkit/error.h>
#include <arkit/sdk/forwarding_source.h>
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
    std::vector<TensorInfo> shown;
    for (const TensorInfo& info : weights.tensors())
      if (with_head || !belongs_to_head(info.name)) shown.push_back(info);
    set_tensors(std::move(shown));
  }
  at::Tensor load(std::string_view name) const override {
    if (find(name) == nullptr) throw_input(str("no tensor named '", printable(name), "'"));
    return weights_.load(name);
  }
  void release(std::string_view name) const noexcept override { weights_.release(name); }

 private:
  const WeightSource& weights_;
};

class View final : public sdk::ForwardingSource {
 public:
  View(const ModelSource& source, json::Object config, bool with_head)
      : ForwardingSource(source),
        config_(std::move(config)),
        weights_(source.weights(), with_head),
        packed_(source, [&](const LinearSpec& layer) { return with_head || layer.name != kHead; }) {}

  const json::Object& config() const override { return config_; }
  const WeightSource& weights() const override { return weights_; }
  const PackedLayers* packed() const override { return packed_.facet(); }

 private:
  json::Object config_;
  ViewWeights weights_;
  sdk::PackedSelection packed_;
};

}  // namespace

std::unique_ptr<ModelSource> view_as(const ModelSource& source, json::Object config, bool with_head) {
  return std::make_unique<View>(source, std::move(config), with_head);
}

}  // namespace arkit
