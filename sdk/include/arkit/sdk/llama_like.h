#pragma once
// The decoder most families share (docs/spec/decoder.md 1), run from its layout: attention and a feed-forward network,
// each between the norms that the layout places, added to the hidden state. A family only says what its layout is.

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <arkit/head_strips.h>
#include <arkit/model_adapter.h>
#include <arkit/model_layout.h>
#include <arkit/model_source.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/sdk/rope.h>

namespace arkit::sdk {

class LlamaLikeModel final : public Model, public HeadStrips {
 public:
  // `source` outlives the model. Checks every tensor of the checkpoint against the layout. Throws
  // ErrorCode::unsupported for a layout with parts that this decoder does not have.
  LlamaLikeModel(ModelLayout layout, const ModelSource& source, at::ScalarType dtype);
  ~LlamaLikeModel() override;

  [[nodiscard]] int64_t num_blocks() const override { return static_cast<int64_t>(layout_.blocks.size()); }
  [[nodiscard]] int64_t hidden_size() const override { return layout_.lists.front().hidden_size; }
  [[nodiscard]] int64_t vocab_size() const override { return layout_.tokens.vocab_size; }
  [[nodiscard]] int64_t max_positions() const override { return layout_.tokens.max_positions; }
  [[nodiscard]] bool tied_embeddings() const override { return layout_.tokens.tied; }
  [[nodiscard]] std::string block_name(int64_t block) const override { return layout_of(block).name; }
  [[nodiscard]] std::vector<std::string> block_lists() const override { return {layout_.lists.front().name}; }
  [[nodiscard]] std::vector<LayerPlan> linears() const override { return layout_.linears(); }
  [[nodiscard]] std::vector<AttentionPlan> attentions() const override;
  [[nodiscard]] std::vector<std::string> norm_names(int64_t block) const override;

  void load_block(int64_t block) override;
  void release_block(int64_t block) noexcept override;
  [[nodiscard]] std::vector<Linear*> block_linears(int64_t block) override;
  void load_rest() override;
  void release_rest() noexcept override;

  [[nodiscard]] at::Tensor embed(const at::Tensor& input_ids) const override;
  [[nodiscard]] ForwardContext context(int64_t batch, int64_t seqlen, const at::Tensor& attention_mask,
                                       const at::Tensor& position_ids,
                                       std::span<const SequenceSpan> sequences) const override;
  [[nodiscard]] at::Tensor run_block(int64_t block, const at::Tensor& hidden, const ForwardContext& context,
                                     BlockHook& hook) const override;
  [[nodiscard]] at::Tensor logits(const at::Tensor& hidden, BlockHook& hook) const override;
  [[nodiscard]] Linear& head() override;

  [[nodiscard]] bool has_head_strips() const override { return !packed(head_plan().name); }
  [[nodiscard]] Linear head_strip(int64_t first, int64_t count) const override;
  [[nodiscard]] at::Tensor strip_logits(const at::Tensor& hidden, const Linear& strip, BlockHook& hook) const override;

 private:
  struct Norm {
    std::string name;  // tensor; empty = none at this place
    at::Tensor weight;
  };
  struct Block {
    std::vector<Linear> linears;  // as BlockLayout::layers
    Norm mixer_in, mixer_out, feed_forward_in, feed_forward_out, query, key;
  };

  void check_layout() const;
  void check_tensors() const;
  void check_norms(const BlockLayout& block) const;
  void check_tensor(const std::string& name, std::vector<int64_t> shape) const;
  void check_packed() const;
  [[nodiscard]] const BlockLayout& layout_of(int64_t block) const {
    return layout_.blocks.at(static_cast<size_t>(block));
  }
  [[nodiscard]] const LayerPlan& head_plan() const { return layout_.outside.front(); }
  [[nodiscard]] std::string table_name() const;
  [[nodiscard]] bool packed(const std::string& layer) const { return packed_.contains(layer); }
  [[nodiscard]] at::Tensor load(const std::string& tensor) const;
  [[nodiscard]] Linear load_linear(const LayerPlan& plan) const;
  void release_linear(Linear& linear) const noexcept;
  [[nodiscard]] const Block& loaded(int64_t block) const;
  [[nodiscard]] static std::vector<Norm*> norms(Block& block);
  // The linear of a role in a loaded block; null = the block has none.
  [[nodiscard]] const Linear* find(int64_t block, LayerRole role) const;
  [[nodiscard]] at::Tensor norm(int64_t block, const Norm& norm, const at::Tensor& x, BlockHook& hook) const;
  [[nodiscard]] at::Tensor attend(int64_t block, const at::Tensor& x, const ForwardContext& context,
                                  BlockHook& hook) const;
  [[nodiscard]] at::Tensor feed_forward(int64_t block, const at::Tensor& x, BlockHook& hook) const;
  [[nodiscard]] at::Tensor before_head(const at::Tensor& hidden) const;
  [[nodiscard]] at::Tensor scaled_logits(at::Tensor logits) const;
  [[nodiscard]] Linear& materialised_head() const;

  ModelLayout layout_;
  const ModelSource& source_;
  at::ScalarType dtype_;
  std::set<std::string, std::less<>> packed_;   // names of packed_layers(source_)
  std::vector<RopeFrequencies> frequencies_;    // as ModelLayout::ropes
  std::vector<std::unique_ptr<Block>> blocks_;  // null = not loaded
  at::Tensor embeddings_;                       // as stored: rows are cast after the look-up
  Norm final_norm_;
  mutable at::Tensor stored_head_;  // of its own, as stored; strips are cast
  mutable Linear head_;             // cast to the model's dtype on first use: tuning needs embeddings only
};

}  // namespace arkit::sdk
