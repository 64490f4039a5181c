#pragma once
// An architecture as embed -> N decoder blocks -> logits. The block code is written once and runs in full precision, in
// calibration, in tuning and in packed inference, because everything that can mean something else there goes through a
// BlockHook: linear layers, norms, attention and recurrent state.

#include <array>
#include <cstdint>
#include <functional>
#include <map>
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

// A sequence's part in a forward: `count` new positions behind `past` earlier ones.
struct SequenceSpan {
  int64_t id = 0;  // how the hook's owner calls it; families pass it on
  int64_t past = 0;
  int64_t count = 0;
};

// What all blocks of one forward share. Built by Model::context. A batch is a list of sequences in one of two shapes:
// rows [batch, seqlen], each a sequence that begins here and may have padding; or a single row in which `sequences`
// stand one behind the other, each with a past of its own. Families treat both alike; hooks tell them apart.
struct ForwardContext {
  int64_t batch = 0;
  int64_t seqlen = 0;                   // positions of a row
  std::vector<SequenceSpan> sequences;  // empty = rows; else batch is 1 and their counts add up to seqlen
  at::Tensor positions;                 // int64 [1 or batch, seqlen]
  at::Tensor key_mask;                  // of rows: bool [batch, seqlen], true = real token; undefined = all real
  // RoPE tables [1 or batch, seqlen, ...] per table the family uses, in the model's dtype.
  std::vector<at::Tensor> cos, sin;
  // Kept by hooks from block to block: attention masks by {past, count, window}.
  mutable std::map<std::array<int64_t, 3>, at::Tensor> masks;
};

// softmax(capped(query key^T scale)) value over what each position may see: itself and earlier real positions of its
// own sequence, of these the last `window`. Handed over by value, so that a hook may replace a tensor and let the old one go;
// no tensor is changed in place, and a hook that keeps keys and values copies them.
struct AttentionCall {
  std::string_view module;  // as in AttentionPlan
  int64_t block = 0;
  const ForwardContext& forward;
  // Of the model's dtype, any strides with the last one 1.
  at::Tensor query;       // [batch, heads, seqlen, key_dim], after norms, RoPE and rotations
  at::Tensor key, value;  // [batch, kv_heads, seqlen, key_dim or value_dim], new positions only; heads % kv_heads == 0
  double scale = 1.0;
  int64_t window = 0;    // keys a query sees, itself included; 0 = all
  double softcap = 0.0;  // c > 0: a score s becomes c * tanh(s / c), before masks; 0 = s
};

// A recurrence over positions. The family knows how states move on, the hook where they come from and go to.
struct StateCall {
  std::string_view module;
  int64_t block = 0;
  const ForwardContext& forward;
  at::Tensor x;                       // [batch, seqlen, ...], borrowed; padding is the family's business
  std::span<const at::Tensor> fresh;  // states of one sequence without a past, each [1, ...]; borrowed
  // x [n, count, ...] of n sequences and their states, each [n, ...] -> [n, count, ...]. Replaces the states by those
  // after the last position; changes no tensor in place.
  std::function<at::Tensor(const at::Tensor& x, std::vector<at::Tensor>& states)> advance;
};

// What a block's operations mean: in full precision, while calibrating or tuning, with packed weights, with caches. A
// family calls each for what it computes and knows none of the answers. Results are the caller's and differentiable
// unless the hook says otherwise. Hooks usually wrap another one and change one operation (sdk/block_hooks.h); where
// keys, values and states of earlier positions live is the business of a hook's owner.
class ARKIT_EXPORT BlockHook {
 public:
  virtual ~BlockHook();
  // x [..., in_features] W^T + b -> [..., out_features] in x's dtype.
  virtual at::Tensor linear(const Linear& layer, const at::Tensor& x);
  // Several layers fed by the same x, one result a layer in their order; unless overridden, linear() of each in turn.
  // The layers of one fused_group come together, in module order, unless their rotations differ.
  virtual std::vector<at::Tensor> linears(std::span<const Linear* const> layers, const at::Tensor& x);
  // The weight to use instead of a norm's, of the same shape and dtype.
  virtual at::Tensor norm_weight(std::string_view name, const at::Tensor& weight);
  // -> [batch, seqlen, heads * value_dim] in the query's dtype. Every attention module of Model::attentions passes here
  // once a forward.
  virtual at::Tensor attention(AttentionCall call) = 0;
  // -> [batch, seqlen, ...] as `advance` returns it.
  virtual at::Tensor mix_state(const StateCall& call) = 0;
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

  // Attention modules, in block order: what passes BlockHook::attention, and what a cache of keys and values takes.
  // Empty = none, and static scales of attention are refused.
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

  // What the blocks of one call share. For rows: attention_mask [batch, seqlen] (1 = real) or undefined; position_ids
  // [1 or batch, seqlen] or undefined = 0, 1, ... For `sequences` (batch 1): no mask; position_ids [1, seqlen] or
  // undefined = each sequence's from its past on. sdk::forward_context does all but the tables.
  [[nodiscard]] virtual ForwardContext context(int64_t batch, int64_t seqlen, const at::Tensor& attention_mask,
                                               const at::Tensor& position_ids,
                                               std::span<const SequenceSpan> sequences) const = 0;

  // One decoder block, [batch, seqlen, hidden_size] -> the same; differentiable in `hidden` and in whatever the hook
  // returns. Keeps nothing: what later calls need is the hook's to keep.
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
  // source.packed() gets an undefined weight. `source` outlives the model. Throws ErrorCode::input when a tensor
  // is missing or has a wrong shape: every tensor the blocks need is checked here, before any work.
  [[nodiscard]] virtual std::unique_ptr<Model> open(const ModelSource& source, at::ScalarType dtype) const = 0;
};

}  // namespace arkit
