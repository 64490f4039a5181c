#include "model_free/weights_model.h"

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <vector>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/sdk/layer_rules.h>
#include <arkit/sdk/layout.h>
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

class Guesses {
 public:
  explicit Guesses(const ModelSource& source) : source_(source) {}

  ModelLayout make() {
    const json::Object& config = source_.config();
    const TiedEmbeddings embeddings = find_tied_embeddings(source_);
    if (!embeddings.missing.empty())
      throw_input(str("'", source_.path().string(), "': tensor '", embeddings.missing,
                      ".weight' is missing; config.json says that embeddings are not tied"));
    const auto number = [&](const char* key) { return json::get_int(config_with(config, key), key, "config.json"); };
    out_.model_type = json::get_string(config, "model_type", "config.json").value_or("");
    out_.tokens.tied = embeddings.tied;
    out_.tokens.vocab_size = number("vocab_size").value_or(0);
    out_.tokens.max_positions = number("max_position_embeddings").value_or(std::numeric_limits<int64_t>::max());
    hidden_size_ = number("hidden_size").value_or(0);
    if (std::find(kTransposed.begin(), kTransposed.end(), out_.model_type) != kTransposed.end())
      throw_unsupported(str("models of type '", out_.model_type,
                            "' store their weights transposed (Conv1D); rounding them needs a plugin for the family"));
    find_layers(LayerRules(config));
    if (out_.blocks.empty())
      throw_input(
          str("'", source_.path().string(),
              "': no tensor is named like the weight of a layer in a decoder block (model.layers.0. ...weight)"));
    return std::move(out_);
  }

 private:
  void find_layers(const LayerRules& rules) {
    std::map<std::string, size_t> fused;  // group -> block
    for (const TensorInfo& tensor : source_.weights().tensors()) {
      if (!is_linear_weight(tensor)) continue;
      LayerPlan layer = plan_of(tensor, rules);
      const std::optional<BlockPlace> place = block_place(layer.name);
      if (!place) {
        const bool outermost = layer.name.find('.') == std::string::npos;
        if (layer.role == LayerRole::head && outermost && !out_.tokens.tied) out_.outside.push_back(std::move(layer));
        continue;
      }
      if (layer.reason.empty()) add_list(place->list);
      add(std::move(layer), fused);
    }
  }

  // Lists with at least one layer to quantize; their blocks are cut up and mixed, so that none says where they lie.
  void add_list(const std::string& name) {
    if (std::none_of(out_.lists.begin(), out_.lists.end(), [&](const BlockList& list) { return list.name == name; }))
      out_.lists.push_back({.name = name, .first = 0, .count = 0, .hidden_size = hidden_size_, .text = true});
  }

  // A decoder block may hold hundreds of experts; in memory need only be one.
  void add(LayerPlan layer, std::map<std::string, size_t>& fused) {
    const auto known = layer.fused_group.empty() ? fused.end() : fused.find(layer.fused_group);
    if (known == fused.end()) {
      if (!layer.fused_group.empty()) fused.emplace(layer.fused_group, out_.blocks.size());
      out_.blocks.push_back({.name = layer.name});
    }
    const size_t block = known == fused.end() ? out_.blocks.size() - 1 : known->second;
    layer.block = static_cast<int64_t>(block);
    out_.blocks[block].layers.push_back(std::move(layer));
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

  const ModelSource& source_;
  int64_t hidden_size_ = 0;
  ModelLayout out_;
};

class WeightsModel final : public Model {
 public:
  WeightsModel(const ModelSource& source, at::ScalarType dtype)
      : source_(source), dtype_(dtype), layout_(layout_of(source)), loaded_(layout_.blocks.size()) {}

  int64_t num_blocks() const override { return static_cast<int64_t>(layout_.blocks.size()); }
  int64_t hidden_size() const override { return layout_.lists.empty() ? 0 : layout_.lists.front().hidden_size; }
  int64_t vocab_size() const override { return layout_.tokens.vocab_size; }
  int64_t max_positions() const override { return layout_.tokens.max_positions; }
  bool tied_embeddings() const override { return layout_.tokens.tied; }
  std::string block_name(int64_t block) const override { return layout_.blocks.at(static_cast<size_t>(block)).name; }
  std::vector<std::string> block_lists() const override { return sdk::block_list_names(layout_); }
  std::vector<LayerPlan> linears() const override { return layout_.linears(); }
  std::vector<std::string> norm_names(int64_t) const override { return {}; }

  void load_block(int64_t block) override {
    std::vector<std::unique_ptr<Linear>>& linears = loaded_.at(static_cast<size_t>(block));
    if (!linears.empty()) return;
    for (const LayerPlan& layer : layout_.blocks[static_cast<size_t>(block)].layers) linears.push_back(load(layer));
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
    if (head_ == nullptr && !layout_.outside.empty()) head_ = load(layout_.outside.front());
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
  ModelLayout layout_;
  std::vector<std::vector<std::unique_ptr<Linear>>> loaded_;
  std::unique_ptr<Linear> head_;
};

}  // namespace

ModelLayout layout_of(const ModelSource& source) {
  return Guesses(source).make();
}

std::unique_ptr<Model> open_weights(const ModelSource& source, at::ScalarType dtype) {
  return std::make_unique<WeightsModel>(source, dtype);
}

}  // namespace arkit::model_free
