// LlamaLikeModel: the forward pass.
#include <arkit/sdk/llama_like.h>

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <arkit/error.h>
#include <arkit/fixed_order.h>
#include <arkit/sdk/attention.h>
#include <arkit/str.h>

namespace arkit::sdk {
namespace {

at::Tensor key_mask_of(const at::Tensor& attention_mask, int64_t batch, int64_t keys) {
  if (!attention_mask.defined()) return {};
  ARKIT_CHECK(attention_mask.dim() == 2 && attention_mask.size(0) == batch && attention_mask.size(1) == keys,
              str("attention_mask must be [", batch, ", ", keys, "]"));
  at::Tensor real = attention_mask.to(at::kBool);
  return real.all().item<bool>() ? at::Tensor() : real;
}

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

}  // namespace

at::Tensor LlamaLikeModel::embed(const at::Tensor& input_ids) const {
  ARKIT_CHECK(embeddings_.defined(), "embeddings are not loaded: call load_rest first");
  return at::embedding(embeddings_, input_ids).to(dtype_);
}

// masks[0]: blocks without a window; masks[1]: blocks with one. All windows of these families are equal.
ForwardContext LlamaLikeModel::context(int64_t batch, int64_t seqlen, const at::Tensor& attention_mask,
                                       const at::Tensor& position_ids, KvCache* cache) const {
  const c10::NoGradGuard no_grad;
  ForwardContext out;
  out.batch = batch;
  out.seqlen = seqlen;
  out.past = cache == nullptr ? 0 : cache->length;
  out.cache = cache;
  out.key_mask = key_mask_of(attention_mask, batch, out.past + seqlen);
  const at::Tensor positions =
      position_ids.defined() ? position_ids : at::arange(out.past, out.past + seqlen, at::kLong).unsqueeze(0);
  ARKIT_CHECK(positions.dim() == 2 && positions.size(1) == seqlen, str("position_ids must be [batch, ", seqlen, "]"));
  const RopeFrequencies frequencies = rope_depends_on_length(config_.rope) || FixedOrder::active()
                                          ? rope_frequencies(config_.rope, positions.max().item<int64_t>() + 1)
                                          : frequencies_;
  RopeTables tables = rope_tables(frequencies, positions, dtype_);
  out.cos.push_back(std::move(tables.cos));
  out.sin.push_back(std::move(tables.sin));
  MaskSpec spec{.past = out.past, .seqlen = seqlen, .window = 0, .key_mask = out.key_mask};
  out.masks.push_back(sdk::attention_mask(spec, dtype_));
  for (const int64_t window : config_.windows) spec.window = std::max(spec.window, window);
  out.masks.push_back(spec.window == 0 ? at::Tensor() : sdk::attention_mask(spec, dtype_));
  return out;
}

KvCache LlamaLikeModel::make_cache(int64_t batch, int64_t capacity) const {
  KvCache cache;
  cache.capacity = capacity;
  for (int64_t block = 0; block < config_.num_blocks; ++block) {
    const at::Tensor key = at::empty({batch, config_.kv_heads, capacity, config_.head_dim}, dtype_);
    cache.blocks.push_back({key, at::empty_like(key)});
  }
  return cache;
}

at::Tensor LlamaLikeModel::attend(const Block& block, size_t index, const at::Tensor& x, const ForwardContext& context,
                                  BlockHook& hook) const {
  const LlamaLikeConfig& c = config_;
  LayerInput input(x);
  const auto heads = [&](Slot slot, int64_t count) {
    return hook.linear(block.linears[slot], input(block.linears[slot]))
        .view({context.batch, context.seqlen, count, c.head_dim});
  };
  at::Tensor query = heads(q, c.heads), key = heads(k, c.kv_heads), value = heads(v, c.kv_heads).transpose(1, 2);
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
  const std::string_view module = module_of(block.linears[q].name);
  query = hook.attention_state(module, AttentionState::query, query);
  key = hook.attention_state(module, AttentionState::key, key);
  value = hook.attention_state(module, AttentionState::value, value);
  if (context.cache != nullptr) {
    const KvCache::Entry& entry = context.cache->blocks[index];
    const int64_t keys = context.past + context.seqlen;
    ARKIT_CHECK(keys <= context.cache->capacity,
                str("the key/value cache holds ", context.cache->capacity, " positions; ", keys, " are needed"));
    entry.key.narrow(2, context.past, context.seqlen).copy_(key);
    entry.value.narrow(2, context.past, context.seqlen).copy_(value);
    key = entry.key.narrow(2, 0, keys);
    value = entry.value.narrow(2, 0, keys);
  }
  const at::Tensor& mask = context.masks[c.windows[index] > 0 ? 1 : 0];
  const double scale = 1.0 / std::sqrt(static_cast<double>(c.head_dim));
  LayerInput attended(attention(query, key, value, mask, scale));
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
  LayerInput x(norm(block.post_attention, attended));
  const at::Tensor gate_out = hook.linear(block.linears[gate], x(block.linears[gate]));
  const at::Tensor up_out = hook.linear(block.linears[up], x(block.linears[up]));
  LayerInput product(gated(config_.activation, gate_out, up_out));
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
