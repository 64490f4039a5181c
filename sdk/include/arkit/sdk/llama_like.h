#pragma once
// The decoder most families share (docs/spec/decoder.md 1): h += o(attention(norm(h))); h += down(act(gate(norm(h))) *
// up(...)). A family plugin reads its config.json into LlamaLikeConfig and is done.

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include <arkit/head_strips.h>
#include <arkit/model_adapter.h>
#include <arkit/model_source.h>
#include <arkit/sdk/config_reader.h>
#include <arkit/sdk/nn.h>
#include <arkit/sdk/rope.h>

namespace arkit::sdk {

// Strict and quiet: yes when config.json's model_type is one of `info.model_types`.
[[nodiscard]] Verdict match_model_type(const json::Object& config, const AdapterInfo& info);
// "config.json of '<path>'", for errors.
[[nodiscard]] std::string config_name(const ModelSource& source);

struct LlamaLikeConfig {
  int64_t vocab_size = 0, hidden_size = 0, intermediate_size = 0;
  int64_t num_blocks = 0, heads = 0, kv_heads = 0, head_dim = 0, max_positions = 0;
  double rms_norm_eps = 1e-6;
  Activation activation = Activation::silu;
  bool qkv_bias = false, o_bias = false, mlp_bias = false;
  bool qk_norm = false;          // RMSNorm over head_dim of every query and key head, before RoPE
  std::vector<int64_t> windows;  // keys a query of block i sees; 0 = all
  RopeConfig rope;
};

// What a family's configuration class assumes for absent keys (docs/spec/decoder.md 6).
struct LlamaLikeDefaults {
  int64_t vocab_size = 32000, hidden_size = 4096, intermediate_size = 11008, num_blocks = 32, heads = 32;
  std::optional<int64_t> kv_heads;  // unset = as many as heads
  std::optional<int64_t> head_dim;  // unset = hidden_size / heads
  int64_t max_positions = 2048;
  double rms_norm_eps = 1e-6, rope_theta = 10000.0;
};

// Everything but biases, qk_norm and windows (all 0), with a range check for each number.
[[nodiscard]] LlamaLikeConfig read_llama_like(const ConfigReader& config, const LlamaLikeDefaults& defaults);

// "layer_types" gives a window to the blocks it calls sliding_attention; without it `rule(block)` decides. No window at
// all when `window` is unset.
[[nodiscard]] std::vector<int64_t> block_windows(const ConfigReader& config, int64_t num_blocks,
                                                 std::optional<int64_t> window,
                                                 bool (*rule)(int64_t block, int64_t arg), int64_t arg);

class LlamaLikeModel final : public Model, public HeadStrips {
 public:
  // `source` outlives the model. Checks every tensor of the checkpoint against the configuration.
  LlamaLikeModel(LlamaLikeConfig config, const ModelSource& source, at::ScalarType dtype);
  ~LlamaLikeModel() override;

  [[nodiscard]] int64_t num_blocks() const override { return config_.num_blocks; }
  [[nodiscard]] int64_t hidden_size() const override { return config_.hidden_size; }
  [[nodiscard]] int64_t vocab_size() const override { return config_.vocab_size; }
  [[nodiscard]] int64_t max_positions() const override { return config_.max_positions; }
  [[nodiscard]] bool tied_embeddings() const override { return tied_; }
  [[nodiscard]] std::string block_name(int64_t block) const override;
  [[nodiscard]] std::vector<std::string> block_lists() const override { return {prefix_ + "layers"}; }
  [[nodiscard]] std::vector<LayerPlan> linears() const override;
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

  [[nodiscard]] bool has_head_strips() const override { return !packed("lm_head"); }
  [[nodiscard]] Linear head_strip(int64_t first, int64_t count) const override;
  [[nodiscard]] at::Tensor strip_logits(const at::Tensor& hidden, const Linear& strip, BlockHook& hook) const override;

 private:
  enum Slot : size_t { q, k, v, o, gate, up, down, num_slots };
  struct Norm {
    std::string name;  // tensor name
    at::Tensor weight;
  };
  struct Block {
    std::vector<Linear> linears;  // by Slot
    Norm input, post_attention, q_norm, k_norm;
  };

  void check_tensors() const;
  void check_tensor(const std::string& name, std::vector<int64_t> shape) const;
  [[nodiscard]] std::vector<LayerPlan> block_plans(int64_t block) const;
  [[nodiscard]] LayerPlan head_plan() const;
  [[nodiscard]] std::string table_name() const;
  [[nodiscard]] bool packed(const std::string& layer) const { return packed_.contains(layer); }
  [[nodiscard]] at::Tensor load(const std::string& tensor) const;
  [[nodiscard]] Linear load_linear(const LayerPlan& plan) const;
  void release_linear(Linear& linear) const noexcept;
  [[nodiscard]] const Block& loaded(int64_t block) const;
  [[nodiscard]] std::vector<Norm*> norms(Block& block) const;
  [[nodiscard]] at::Tensor attend(const Block& block, size_t index, const at::Tensor& x, const ForwardContext& context,
                                  BlockHook& hook) const;
  [[nodiscard]] Linear& materialised_head() const;

  LlamaLikeConfig config_;
  const ModelSource& source_;
  at::ScalarType dtype_;
  std::string prefix_;  // "model." or, for a checkpoint of the bare decoder, ""
  bool tied_ = false;
  std::set<std::string, std::less<>> packed_;  // names of source_.packed_layers()
  RopeFrequencies frequencies_;
  std::vector<std::unique_ptr<Block>> blocks_;  // null = not loaded
  at::Tensor embeddings_;                       // as stored: rows are cast after the look-up
  Norm final_norm_;
  mutable at::Tensor stored_head_;  // of its own, as stored; strips are cast
  mutable Linear head_;             // cast to the model's dtype on first use: tuning needs embeddings only
};

}  // namespace arkit::sdk
