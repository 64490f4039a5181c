#pragma once
// An architecture as embed -> N decoder blocks -> logits. The block code is written once and runs in full precision, in
// calibration, in tuning and in packed inference, because every linear goes through a BlockHook that decides what
// "linear" means.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include <arkit/descriptors.h>
#include <arkit/export.h>
#include <arkit/json.h>
#include <arkit/model_layout.h>
#include <arkit/model_source.h>

namespace arkit {

// A linear layer of a loaded block. Addresses are stable until release_block.
struct Linear {
  std::string name;  // as in the checkpoint, without ".weight"
  int64_t out_features = 0;
  int64_t in_features = 0;
  // [out, in] in the model's dtype (Conv1D and experts already in this orientation); undefined = packed elsewhere.
  at::Tensor weight;
  at::Tensor bias;  // undefined = none
  LayerKind kind = LayerKind::linear;
  std::string fused_group;  // see LayerPlan
  // ModelSource::input_rotation of the layer; null = none. The model applies it: hooks are given the rotated x.
  std::shared_ptr<const InputRotation> rotation;
};

enum class AttentionState { query, key, value };

// What happens at the places tuning, calibration and packed inference care about. The default is full precision.
class ARKIT_EXPORT BlockHook {
 public:
  virtual ~BlockHook();
  virtual at::Tensor linear(const Linear& layer, const at::Tensor& x);              // x W^T + b
  virtual at::Tensor norm_weight(std::string_view name, const at::Tensor& weight);  // the weight to use
  // The state to use instead of x [batch, heads, new positions, head_dim], after RoPE; keys and values before they
  // enter the cache. `module` as in AttentionPlan.
  virtual at::Tensor attention_state(std::string_view module, AttentionState state, const at::Tensor& x);
};

// Keys and values of past positions, one entry a block; owned by the caller, filled by run_block.
struct KvCache {
  struct Entry {
    at::Tensor key, value;  // [batch, kv_heads, capacity, head_dim]; the first `length` positions are valid
  };
  std::vector<Entry> blocks;
  int64_t length = 0;  // positions every block holds; advanced by the caller after a whole forward
  int64_t capacity = 0;
};

// What all blocks of one forward share. Built by Model::context.
struct ForwardContext {
  int64_t batch = 0;
  int64_t seqlen = 0;   // new positions
  int64_t past = 0;     // positions in the cache
  at::Tensor key_mask;  // bool [batch, past + seqlen], true = real token; undefined = all real
  // RoPE tables [seqlen or batch, ...] per table the family uses, in the model's dtype.
  std::vector<at::Tensor> cos, sin;
  std::vector<at::Tensor> masks;  // additive or bool attention masks per kind the family uses; undefined = plain causal
  KvCache* cache = nullptr;
};

class ARKIT_EXPORT Model {
 public:
  virtual ~Model();

  [[nodiscard]] virtual int64_t num_blocks() const = 0;
  [[nodiscard]] virtual int64_t hidden_size() const = 0;
  [[nodiscard]] virtual int64_t vocab_size() const = 0;
  [[nodiscard]] virtual int64_t max_positions() const = 0;
  [[nodiscard]] virtual bool tied_embeddings() const = 0;
  [[nodiscard]] virtual std::string block_name(int64_t block) const = 0;   // "model.layers.3"
  [[nodiscard]] virtual std::vector<std::string> block_lists() const = 0;  // {"model.layers"}

  // Shapes and names of every linear, in module order, from the configuration alone: blocks first, then those outside
  // (lm_head). Nothing is loaded; `block` and fused_group are filled, quant is not. `reason` is filled for a layer that
  // must stay in 16 bits unless the user names it.
  [[nodiscard]] virtual std::vector<LayerPlan> linears() const = 0;

  // Attention modules whose states pass BlockHook::attention_state, in block order; empty = the family has no such
  // hook, and static scales of attention are refused.
  [[nodiscard]] virtual std::vector<AttentionPlan> attentions() const;

  // Names of the norm weights of a block that norm tuning may change.
  [[nodiscard]] virtual std::vector<std::string> norm_names(int64_t block) const = 0;

  // Weights of one block, cast to the dtype given at open. Loading twice is a no-op; release drops every reference.
  virtual void load_block(int64_t block) = 0;
  virtual void release_block(int64_t block) noexcept = 0;
  // Linears of a loaded block, in the order of linears().
  [[nodiscard]] virtual std::vector<Linear*> block_linears(int64_t block) = 0;
  // Embeddings, final norm and head.
  virtual void load_rest() = 0;
  virtual void release_rest() noexcept = 0;

  // Token ids [batch, seqlen] int64 -> hidden [batch, seqlen, hidden_size] in the model's dtype. Needs load_rest.
  [[nodiscard]] virtual at::Tensor embed(const at::Tensor& input_ids) const = 0;

  // RoPE tables and masks of one call. attention_mask [batch, past + seqlen] (1 = real) or undefined; position_ids
  // [batch, seqlen] or undefined = past + arange. `cache` may be null.
  [[nodiscard]] virtual ForwardContext context(int64_t batch, int64_t seqlen, const at::Tensor& attention_mask,
                                               const at::Tensor& position_ids, KvCache* cache) const = 0;
  [[nodiscard]] virtual KvCache make_cache(int64_t batch, int64_t capacity) const = 0;

  // One decoder block; differentiable in `hidden` and in whatever the hook returns.
  [[nodiscard]] virtual at::Tensor run_block(int64_t block, const at::Tensor& hidden, const ForwardContext& context,
                                             BlockHook& hook) const = 0;

  // Final norm and head: [batch, seqlen, hidden] -> logits [batch, seqlen, vocab] in the model's dtype. Needs
  // load_rest.
  [[nodiscard]] virtual at::Tensor logits(const at::Tensor& hidden, BlockHook& hook) const = 0;
  // The head's linear (tied or not); valid after load_rest.
  [[nodiscard]] virtual Linear& head() = 0;
};

struct AdapterInfo {
  std::string_view name;
  std::string_view summary;
  std::span<const std::string_view> model_types;  // config.json "model_type" values
};

class ARKIT_EXPORT ModelAdapter {
 public:
  virtual ~ModelAdapter();
  [[nodiscard]] virtual const AdapterInfo& info() const noexcept = 0;
  [[nodiscard]] virtual Verdict matches(const json::Object& config) const = 0;  // strict and quiet
  // What the model is, from config.json and the names and shapes of tensors; nothing is opened. Throws ErrorCode::input
  // for a configuration that makes no sense; that every tensor is there, open() checks.
  [[nodiscard]] virtual ModelLayout layout(const ModelSource& source) const = 0;
  // A header-only model; weights are read by load_block / load_rest and cast to `dtype` (f32 or bf16). A layer in
  // source.packed_layers() gets an undefined weight. `source` outlives the model. Throws ErrorCode::input when a tensor
  // is missing or has a wrong shape: every tensor the blocks need is checked here, before any work.
  [[nodiscard]] virtual std::unique_ptr<Model> open(const ModelSource& source, at::ScalarType dtype) const = 0;
};

}  // namespace arkit
