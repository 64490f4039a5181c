// LlamaLikeModel: the forward pass.
#include <arkit/sdk/llama_like.h>

#include <algorithm>
#include <variant>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <arkit/error.h>
#include <arkit/fixed_order.h>
#include <arkit/sdk/attention.h>
#include <arkit/sdk/nn.h>
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
  const at::Tensor embedded = at::embedding(embeddings_, input_ids).to(dtype_);
  const double scale = layout_.tokens.embedding_scale;
  return scale == 1.0 ? embedded : embedded * at::scalar_tensor(scale, dtype_);
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
  for (size_t i = 0; i < layout_.ropes.size(); ++i) {
    const Rope& rope = layout_.ropes[i];
    const RopeFrequencies frequencies = rope_depends_on_length(rope) || FixedOrder::active()
                                            ? rope_frequencies(rope, positions.max().item<int64_t>() + 1)
                                            : frequencies_[i];
    RopeTables tables = rope_tables(frequencies, positions, dtype_);
    out.cos.push_back(std::move(tables.cos));
    out.sin.push_back(std::move(tables.sin));
  }
  MaskSpec spec{.past = out.past, .seqlen = seqlen, .window = 0, .key_mask = out.key_mask};
  out.masks.push_back(sdk::attention_mask(spec, dtype_));
  for (const BlockLayout& block : layout_.blocks)
    spec.window = std::max(spec.window, std::get<Attention>(block.mixer).window);
  out.masks.push_back(spec.window == 0 ? at::Tensor() : sdk::attention_mask(spec, dtype_));
  return out;
}

KvCache LlamaLikeModel::make_cache(int64_t batch, int64_t capacity) const {
  KvCache cache;
  cache.capacity = capacity;
  for (const BlockLayout& block : layout_.blocks) {
    const auto& a = std::get<Attention>(block.mixer);
    const at::Tensor key = at::empty({batch, a.kv_heads, capacity, a.key_dim}, dtype_);
    cache.blocks.push_back({key, at::empty_like(key)});
  }
  return cache;
}

const Linear* LlamaLikeModel::find(int64_t block, LayerRole role) const {
  const std::vector<LayerPlan>& layers = layout_of(block).layers;
  const auto found = std::find_if(layers.begin(), layers.end(), [&](const LayerPlan& l) { return l.role == role; });
  return found == layers.end() ? nullptr : &loaded(block).linears[static_cast<size_t>(found - layers.begin())];
}

at::Tensor LlamaLikeModel::norm(int64_t block, const Norm& norm, const at::Tensor& x, BlockHook& hook) const {
  return norm.name.empty() ? x : apply_norm(layout_of(block).norms, x, hook.norm_weight(norm.name, norm.weight));
}

at::Tensor LlamaLikeModel::attend(int64_t index, const at::Tensor& x, const ForwardContext& context,
                                  BlockHook& hook) const {
  const Block& block = loaded(index);
  const auto& a = std::get<Attention>(layout_of(index).mixer);
  const int64_t query_width = a.heads * a.key_dim, key_width = a.kv_heads * a.key_dim;
  LayerInput input(x);
  const auto product = [&](const Linear& layer) { return hook.linear(layer, input(layer)); };
  at::Tensor query, key, value;
  if (const Linear* qkv = find(index, LayerRole::qkv)) {
    const std::vector<at::Tensor> parts = product(*qkv).split_with_sizes({query_width, key_width, key_width}, -1);
    query = parts[0], key = parts[1], value = parts[2];
  } else {
    query = product(*find(index, LayerRole::query));
    key = product(*find(index, LayerRole::key));
    value = product(*find(index, LayerRole::value));
  }
  const auto by_head = [&](const at::Tensor& states, int64_t heads) {
    return states.view({context.batch, context.seqlen, heads, a.key_dim});
  };
  const auto normed = [&](const at::Tensor& states, const Norm& n, int64_t heads) {
    return layout_of(index).norms.whole_heads ? by_head(norm(index, n, states, hook), heads)
                                              : norm(index, n, by_head(states, heads), hook);
  };
  query = normed(query, block.query, a.heads);
  key = normed(key, block.key, a.kv_heads);
  value = by_head(value, a.kv_heads).transpose(1, 2);
  if (a.rope >= 0) {
    const auto rope = static_cast<size_t>(a.rope);
    query = apply_rope(query, context.cos[rope], context.sin[rope]);
    key = apply_rope(key, context.cos[rope], context.sin[rope]);
  }
  query = query.transpose(1, 2);
  key = key.transpose(1, 2);
  if (const auto rotation = source_.query_key_rotation()) {
    query = rotation->apply(query);
    key = rotation->apply(key);
  }
  query = hook.attention_state(a.module, AttentionState::query, query);
  key = hook.attention_state(a.module, AttentionState::key, key);
  value = hook.attention_state(a.module, AttentionState::value, value);
  if (context.cache != nullptr) {
    const KvCache::Entry& entry = context.cache->blocks[static_cast<size_t>(index)];
    const int64_t keys = context.past + context.seqlen;
    ARKIT_CHECK(keys <= context.cache->capacity,
                str("the key/value cache holds ", context.cache->capacity, " positions; ", keys, " are needed"));
    entry.key.narrow(2, context.past, context.seqlen).copy_(key);
    entry.value.narrow(2, context.past, context.seqlen).copy_(value);
    key = entry.key.narrow(2, 0, keys);
    value = entry.value.narrow(2, 0, keys);
  }
  LayerInput attended(attention(query, key, value, context.masks[a.window > 0 ? 1 : 0], a.scale));
  const Linear& output = *find(index, LayerRole::output);
  return hook.linear(output, attended(output));
}

at::Tensor LlamaLikeModel::feed_forward(int64_t index, const at::Tensor& x, BlockHook& hook) const {
  const Activation activation = *find_activation(std::get<Dense>(layout_of(index).feed_forward).activation);
  LayerInput input(x);
  const auto product = [&](const Linear& layer) { return hook.linear(layer, input(layer)); };
  at::Tensor activated;
  if (const Linear* both = find(index, LayerRole::gate_up)) {
    const std::vector<at::Tensor> parts = product(*both).chunk(2, -1);
    activated = gated(activation, parts[0], parts[1]);
  } else if (const Linear* gate = find(index, LayerRole::gate)) {
    const at::Tensor gate_out = product(*gate);
    activated = gated(activation, gate_out, product(*find(index, LayerRole::up)));
  } else {
    const at::Tensor up = product(*find(index, LayerRole::up));
    activated = gated(activation, up, at::ones_like(up));
  }
  LayerInput inner(std::move(activated));
  const Linear& down = *find(index, LayerRole::down);
  return hook.linear(down, inner(down));
}

at::Tensor LlamaLikeModel::run_block(int64_t index, const at::Tensor& hidden, const ForwardContext& context,
                                     BlockHook& hook) const {
  const Block& block = loaded(index);
  const double scale = layout_of(index).residual_scale;
  const auto added = [&](const at::Tensor& to, const at::Tensor& x) { return to + (scale == 1.0 ? x : x * scale); };
  const at::Tensor attended = added(
      hidden,
      norm(index, block.mixer_out, attend(index, norm(index, block.mixer_in, hidden, hook), context, hook), hook));
  return added(attended, norm(index, block.feed_forward_out,
                              feed_forward(index, norm(index, block.feed_forward_in, attended, hook), hook), hook));
}

at::Tensor LlamaLikeModel::before_head(const at::Tensor& hidden) const {
  return final_norm_.name.empty() ? hidden : apply_norm(layout_of(0).norms, hidden, final_norm_.weight);
}

at::Tensor LlamaLikeModel::scaled_logits(at::Tensor logits) const {
  const TokenInfo& tokens = layout_.tokens;
  if (tokens.logit_divisor != 1.0) logits = logits / tokens.logit_divisor;
  if (tokens.logit_softcap > 0.0) logits = at::tanh(logits / tokens.logit_softcap) * tokens.logit_softcap;
  return logits;
}

at::Tensor LlamaLikeModel::logits(const at::Tensor& hidden, BlockHook& hook) const {
  const Linear& head = materialised_head();
  LayerInput x(before_head(hidden));
  return scaled_logits(hook.linear(head, x(head)));
}

at::Tensor LlamaLikeModel::strip_logits(const at::Tensor& hidden, const Linear& strip, BlockHook& hook) const {
  LayerInput x(before_head(hidden));
  return scaled_logits(hook.linear(strip, x(strip)));
}

}  // namespace arkit::sdk
