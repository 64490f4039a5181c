// LlamaLikeModel: the forward pass.
#include <arkit/sdk/llama_like.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <utility>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <arkit/error.h>
#include <arkit/fixed_order.h>
#include <arkit/sdk/forward_context.h>

namespace arkit::sdk {
namespace {

// "model.layers.0.self_attn" of "model.layers.0.self_attn.q_proj".
std::string_view module_of(std::string_view layer) {
  return layer.substr(0, layer.rfind('.'));
}

// What several layers read: turned once for each rotation among them.
class LayerInput {
 public:
  explicit LayerInput(at::Tensor x) : x_(std::move(x)) {}
  const at::Tensor& operator()(const Linear& layer) {
    if (!layer.rotation) return x_;
    if (layer.rotation.get() != rotation_) {
      rotation_ = layer.rotation.get();
      turned_ = rotation_->apply(x_);
    }
    return turned_;
  }

 private:
  at::Tensor x_, turned_;
  const InputRotation* rotation_ = nullptr;  // of turned_
};

// Layers fed by one input: through the hook together, unless their rotations differ.
std::vector<at::Tensor> project(BlockHook& hook, std::initializer_list<const Linear*> layers, const at::Tensor& x) {
  LayerInput input(x);
  const auto turned_alike = [&](const Linear* layer) { return layer->rotation == (*layers.begin())->rotation; };
  if (std::all_of(layers.begin(), layers.end(), turned_alike))
    return hook.linears({layers.begin(), layers.size()}, input(**layers.begin()));
  std::vector<at::Tensor> out;
  for (const Linear* layer : layers) out.push_back(hook.linear(*layer, input(*layer)));
  return out;
}

}  // namespace

at::Tensor LlamaLikeModel::embed(const at::Tensor& input_ids) const {
  ARKIT_CHECK(embeddings_.defined(), "embeddings are not loaded: call load_rest first");
  return at::embedding(embeddings_, input_ids).to(dtype_);
}

ForwardContext LlamaLikeModel::context(int64_t batch, int64_t seqlen, const at::Tensor& attention_mask,
                                       const at::Tensor& position_ids, std::span<const SequenceSpan> sequences) const {
  const c10::NoGradGuard no_grad;
  ForwardContext out = forward_context(batch, seqlen, attention_mask, position_ids, sequences);
  const bool by_length = rope_depends_on_length(config_.rope);
  const auto tables_of = [&](const at::Tensor& positions) {
    const bool fresh = by_length || FixedOrder::active();
    return rope_tables(fresh ? rope_frequencies(config_.rope, positions.max().item<int64_t>() + 1) : frequencies_,
                       positions, dtype_);
  };
  if (!by_length || sequences.empty()) {
    RopeTables tables = tables_of(out.positions);
    out.cos.push_back(std::move(tables.cos));
    out.sin.push_back(std::move(tables.sin));
    return out;
  }
  // A sequence's frequencies are those of its own length, whatever stands beside it.
  std::vector<at::Tensor> cos, sin;
  int64_t first = 0;
  for (const SequenceSpan& span : sequences) {
    RopeTables tables = tables_of(out.positions.narrow(1, first, span.count));
    cos.push_back(std::move(tables.cos));
    sin.push_back(std::move(tables.sin));
    first += span.count;
  }
  out.cos.push_back(at::cat(cos, 1));
  out.sin.push_back(at::cat(sin, 1));
  return out;
}

at::Tensor LlamaLikeModel::attend(const Block& block, size_t index, const at::Tensor& x, const ForwardContext& context,
                                  BlockHook& hook) const {
  const LlamaLikeConfig& c = config_;
  std::vector<at::Tensor> qkv = project(hook, {&block.linears[q], &block.linears[k], &block.linears[v]}, x);
  const auto heads = [&](Slot slot, int64_t count) {
    return std::exchange(qkv[slot], {}).view({context.batch, context.seqlen, count, c.head_dim});
  };
  at::Tensor query = heads(q, c.heads), key = heads(k, c.kv_heads);
  if (c.qk_norm) {
    query = rms_norm(query, hook.norm_weight(block.q_norm.name, block.q_norm.weight), c.rms_norm_eps);
    key = rms_norm(key, hook.norm_weight(block.k_norm.name, block.k_norm.weight), c.rms_norm_eps);
  }
  query = apply_rope(query, context.cos[0], context.sin[0]).transpose(1, 2);
  key = apply_rope(key, context.cos[0], context.sin[0]).transpose(1, 2);
  if (const auto rotation = source_.query_key_rotation()) {
    query = rotation->apply(query);
    key = rotation->apply(key);
  }
  LayerInput attended(hook.attention({.module = module_of(block.linears[q].name),
                                      .block = static_cast<int64_t>(index),
                                      .forward = context,
                                      .query = std::move(query),
                                      .key = std::move(key),
                                      .value = heads(v, c.kv_heads).transpose(1, 2),
                                      .scale = 1.0 / std::sqrt(static_cast<double>(c.head_dim)),
                                      .window = c.windows[index]}));
  return hook.linear(block.linears[o], attended(block.linears[o]));
}

at::Tensor LlamaLikeModel::run_block(int64_t index, const at::Tensor& hidden, const ForwardContext& context,
                                     BlockHook& hook) const {
  const Block& block = loaded(index);
  const auto norm = [&](const Norm& n, const at::Tensor& h) {
    return rms_norm(h, hook.norm_weight(n.name, n.weight), config_.rms_norm_eps);
  };
  const at::Tensor attended =
      hidden + attend(block, static_cast<size_t>(index), norm(block.input, hidden), context, hook);
  const std::vector<at::Tensor> gate_up =
      project(hook, {&block.linears[gate], &block.linears[up]}, norm(block.post_attention, attended));
  LayerInput product(gated(config_.activation, gate_up[0], gate_up[1]));
  return attended + hook.linear(block.linears[down], product(block.linears[down]));
}

at::Tensor LlamaLikeModel::logits(const at::Tensor& hidden, BlockHook& hook) const {
  const Linear& head = materialised_head();
  LayerInput x(rms_norm(hidden, final_norm_.weight, config_.rms_norm_eps));
  return hook.linear(head, x(head));
}

at::Tensor LlamaLikeModel::strip_logits(const at::Tensor& hidden, const Linear& strip, BlockHook& hook) const {
  LayerInput x(rms_norm(hidden, final_norm_.weight, config_.rms_norm_eps));
  return hook.linear(strip, x(strip));
}

}  // namespace arkit::sdk
