// LlamaLikeModel: the forward pass.
#include <arkit/sdk/llama_like.h>

#include <algorithm>
#include <initializer_list>
#include <utility>
#include <variant>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <arkit/error.h>
#include <arkit/fixed_order.h>
#include <arkit/sdk/forward_context.h>
#include <arkit/sdk/nn.h>

namespace arkit::sdk {
namespace {

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
  if (layers.size() > 1 && std::all_of(layers.begin(), layers.end(), turned_alike))
    return hook.linears({layers.begin(), layers.size()}, input(**layers.begin()));
  std::vector<at::Tensor> out;
  for (const Linear* layer : layers) out.push_back(hook.linear(*layer, input(*layer)));
  return out;
}

}  // namespace

at::Tensor LlamaLikeModel::embed(const at::Tensor& input_ids) const {
  ARKIT_CHECK(embeddings_.defined(), "embeddings are not loaded: call load_rest first");
  const at::Tensor embedded = at::embedding(embeddings_, input_ids).to(dtype_);
  const double scale = layout_.tokens.embedding_scale;
  return scale == 1.0 ? embedded : embedded * at::scalar_tensor(scale, dtype_);
}

ForwardContext LlamaLikeModel::context(int64_t batch, int64_t seqlen, const at::Tensor& attention_mask,
                                       const at::Tensor& position_ids, std::span<const SequenceSpan> sequences) const {
  const c10::NoGradGuard no_grad;
  ForwardContext out = forward_context(batch, seqlen, attention_mask, position_ids, sequences);
  for (size_t i = 0; i < layout_.ropes.size(); ++i) {
    const Rope& rope = layout_.ropes[i];
    const bool by_length = rope_depends_on_length(rope);
    const auto tables_of = [&](const at::Tensor& positions) {
      const bool fresh = by_length || FixedOrder::active();
      return rope_tables(fresh ? rope_frequencies(rope, positions.max().item<int64_t>() + 1) : frequencies_[i],
                         positions, dtype_);
    };
    std::vector<at::Tensor> cos, sin;
    const auto add = [&](RopeTables tables) {
      cos.push_back(std::move(tables.cos));
      sin.push_back(std::move(tables.sin));
    };
    if (!by_length || sequences.empty()) {
      add(tables_of(out.positions));
    } else {
      // A sequence's frequencies are those of its own length, whatever stands beside it.
      int64_t first = 0;
      for (const SequenceSpan& span : sequences) {
        add(tables_of(out.positions.narrow(1, first, span.count)));
        first += span.count;
      }
    }
    out.cos.push_back(cos.size() == 1 ? std::move(cos.front()) : at::cat(cos, 1));
    out.sin.push_back(sin.size() == 1 ? std::move(sin.front()) : at::cat(sin, 1));
  }
  return out;
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
  std::vector<at::Tensor> projected;
  if (const Linear* qkv = find(index, LayerRole::qkv))
    projected = project(hook, {qkv}, x)[0].split_with_sizes({query_width, key_width, key_width}, -1);
  else
    projected =
        project(hook, {find(index, LayerRole::query), find(index, LayerRole::key), find(index, LayerRole::value)}, x);
  at::Tensor query = std::move(projected[0]), key = std::move(projected[1]), value = std::move(projected[2]);
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
  const Rotations* rotations = source_.rotations();
  if (const auto rotation = rotations == nullptr ? nullptr : rotations->of_query_key()) {
    query = rotation->apply(query);
    key = rotation->apply(key);
  }
  LayerInput attended(hook.attention({.module = a.module,
                                      .block = index,
                                      .forward = context,
                                      .query = std::move(query),
                                      .key = std::move(key),
                                      .value = std::move(value),
                                      .scale = a.scale,
                                      .window = a.window}));
  const Linear& output = *find(index, LayerRole::output);
  return hook.linear(output, attended(output));
}

at::Tensor LlamaLikeModel::feed_forward(int64_t index, const at::Tensor& x, BlockHook& hook) const {
  const Activation activation = *find_activation(std::get<Dense>(layout_of(index).feed_forward).activation);
  at::Tensor activated;
  if (const Linear* both = find(index, LayerRole::gate_up)) {
    const std::vector<at::Tensor> parts = project(hook, {both}, x)[0].chunk(2, -1);
    activated = gated(activation, parts[0], parts[1]);
  } else if (const Linear* gate = find(index, LayerRole::gate)) {
    const std::vector<at::Tensor> parts = project(hook, {gate, find(index, LayerRole::up)}, x);
    activated = gated(activation, parts[0], parts[1]);
  } else {
    const at::Tensor up = project(hook, {find(index, LayerRole::up)}, x)[0];
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
