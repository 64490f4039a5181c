#include "model_free/weights_model.h"

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <vector>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/sdk/layer_rules.h>
#include <arkit/sdk/text_config.h>
#include <arkit/sdk/tied_embeddings.h>
#include <arkit/str.h>

namespace arkit::model_free {
namespace {

constexpr std::string_view kWeight = ".weight";
constexpr std::array<std::string_view, 4> kTransposed = {"gpt2", "openai-gpt", "imagegpt", "decision_transformer"};

[[noreturn]] void no_forward() {
  throw_unsupported(
      "model-free quantization knows no forward pass; what needs one (tuning, calibration) needs a plugin for the "
      "model family");
}

class WeightsModel final : public Model {
 public:
  WeightsModel(const ModelSource& source, at::ScalarType dtype) : source_(source), dtype_(dtype) {
    const json::Object& config = source.config();
    const TiedEmbeddings embeddings = find_tied_embeddings(source);
    if (!embeddings.missing.empty())
      throw_input(str("'", source.path().string(), "': tensor '", embeddings.missing,
                      ".weight' is missing; config.json says that embeddings are not tied"));
    tied_ = embeddings.tied;
    const auto number = [&](const char* key) { return json::get_int(config_with(config, key), key, "config.json"); };
    hidden_size_ = number("hidden_size").value_or(0);
    vocab_size_ = number("vocab_size").value_or(0);
    max_positions_ = number("max_position_embeddings").value_or(std::numeric_limits<int64_t>::max());
    const std::string type = json::get_string(config, "model_type", "config.json").value_or("");
    if (std::find(kTransposed.begin(), kTransposed.end(), type) != kTransposed.end())
      throw_unsupported(str("models of type '", type,
                            "' store their weights transposed (Conv1D); rounding them needs a plugin for the family"));
    find_layers(LayerRules(config));
    if (blocks_.empty())
      throw_input(
          str("'", source.path().string(),
              "': no tensor is named like the weight of a layer in a decoder block (model.layers.0. ...weight)"));
    loaded_.resize(blocks_.size());
  }

  int64_t num_blocks() const override { return static_cast<int64_t>(blocks_.size()); }
  int64_t hidden_size() const override { return hidden_size_; }
  int64_t vocab_size() const override { return vocab_size_; }
  int64_t max_positions() const override { return max_positions_; }
  bool tied_embeddings() const override { return tied_; }
  std::string block_name(int64_t block) const override { return blocks_.at(static_cast<size_t>(block)).name; }
  std::vector<std::string> block_lists() const override { return lists_; }

  std::vector<LayerPlan> linears() const override {
    std::vector<LayerPlan> all;
    for (const Block& block : blocks_) all.insert(all.end(), block.layers.begin(), block.layers.end());
    all.insert(all.end(), outside_.begin(), outside_.end());
    return all;
  }

  std::vector<std::string> norm_names(int64_t) const override { return {}; }

  void load_block(int64_t block) override {
    std::vector<std::unique_ptr<Linear>>& linears = loaded_.at(static_cast<size_t>(block));
    if (!linears.empty()) return;
    for (const LayerPlan& layer : blocks_[static_cast<size_t>(block)].layers) linears.push_back(load(layer));
  }

  void release_block(int64_t block) noexcept override {
    std::vector<std::unique_ptr<Linear>>& linears = loaded_[static_cast<size_t>(block)];
    for (const std::unique_ptr<Linear>& linear : linears)
      source_.weights().release(linear->name + std::string(kWeight));
    linears.clear();
  }

  std::vector<Linear*> block_linears(int64_t block) override {
    std::vector<Linear*> linears;
    for (const std::unique_ptr<Linear>& linear : loaded_.at(static_cast<size_t>(block)))
      linears.push_back(linear.get());
    return linears;
  }

  void load_rest() override {
    if (head_ == nullptr && !outside_.empty()) head_ = load(outside_.front());
  }
  void release_rest() noexcept override { head_.reset(); }
  Linear& head() override {
    ARKIT_CHECK(head_ != nullptr, "the head is not loaded");
    return *head_;
  }

  at::Tensor embed(const at::Tensor&) const override { no_forward(); }
  ForwardContext context(int64_t, int64_t, const at::Tensor&, const at::Tensor&,
                         std::span<const SequenceSpan>) const override {
    no_forward();
  }
  at::Tensor run_block(int64_t, const at::Tensor&, const ForwardContext&, BlockHook&) const override { no_forward(); }
  at::Tensor logits(const at::Tensor&, BlockHook&) const override { no_forward(); }

 private:
  // What is quantized at a time: one layer, or those that are fused. A decoder block may hold hundreds of experts; in
  // memory need only be one. Blocks are numbered as they lie in the files, which are read once from end to end.
  struct Block {
    std::string name;  // of its first layer
    std::vector<LayerPlan> layers;
  };

  void find_layers(const LayerRules& rules) {
    std::map<std::string, size_t> fused;  // group -> block
    for (const TensorInfo& tensor : source_.weights().tensors()) {
      if (!is_linear_weight(tensor)) continue;
      LayerPlan layer = plan_of(tensor, rules);
      const std::optional<BlockPlace> place = block_place(layer.name);
      if (!place) {
        if (layer.name == "lm_head" && !tied_) outside_.push_back(std::move(layer));
        continue;
      }
      if (layer.reason.empty() && std::find(lists_.begin(), lists_.end(), place->list) == lists_.end())
        lists_.push_back(place->list);
      add(std::move(layer), fused);
    }
  }

  void add(LayerPlan layer, std::map<std::string, size_t>& fused) {
    const auto known = layer.fused_group.empty() ? fused.end() : fused.find(layer.fused_group);
    if (known == fused.end()) {
      if (!layer.fused_group.empty()) fused.emplace(layer.fused_group, blocks_.size());
      blocks_.push_back({layer.name, {}});
    }
    const size_t block = known == fused.end() ? blocks_.size() - 1 : known->second;
    layer.block = static_cast<int64_t>(block);
    blocks_[block].layers.push_back(std::move(layer));
  }

  LayerPlan plan_of(const TensorInfo& tensor, const LayerRules& rules) const {
    LayerPlan layer;
    layer.name = tensor.name.substr(0, tensor.name.size() - kWeight.size());
    layer.out_features = tensor.shape[0];
    layer.in_features = tensor.shape[1];
    layer.has_bias = source_.weights().find(layer.name + ".bias") != nullptr;
    guess_layer(layer);
    layer.reason = rules.why_kept(layer.name);
    return layer;
  }

  [[nodiscard]] std::unique_ptr<Linear> load(const LayerPlan& plan) const {
    auto linear = std::make_unique<Linear>();
    linear->name = plan.name;
    linear->out_features = plan.out_features;
    linear->in_features = plan.in_features;
    linear->weight = source_.weights().load(plan.name + std::string(kWeight)).to(dtype_).contiguous();
    linear->kind = plan.kind;
    linear->fused_group = plan.fused_group;
    return linear;
  }

  const ModelSource& source_;
  at::ScalarType dtype_;
  bool tied_ = false;
  int64_t hidden_size_ = 0, vocab_size_ = 0, max_positions_ = 0;
  std::vector<std::string> lists_;  // with at least one layer to quantize
  std::vector<Block> blocks_;
  std::vector<LayerPlan> outside_;  // lm_head
  std::vector<std::vector<std::unique_ptr<Linear>>> loaded_;
  std::unique_ptr<Linear> head_;
};

}  // namespace

std::unique_ptr<Model> open_weights(const ModelSource& source, at::ScalarType dtype) {
  return std::make_unique<WeightsModel>(source, dtype);
}

}  // namespace arkit::model_free
