// Engine: decoder blocks that a backend takes whole.
#include <variant>

#include <ATen/ATen.h>

#include <arkit/engine/open_source.h>
#include <arkit/error.h>

#include "inference/engine_parts.h"

namespace arkit {

void Engine::use_whole_blocks() {
  if (packed_.empty() || !attention_.empty() || source_.rotations() != nullptr) return;
  layout_ = adapter_for(source_, registry_).layout(source_);
  for (size_t i = 0; i < layout_.blocks.size(); ++i) {
    const BlockLayout& block = layout_.blocks[i];
    const auto* attention = std::get_if<Attention>(&block.mixer);
    if (attention == nullptr || block.layers.empty()) continue;
    WholeBlock whole;
    whole.spec = {.layout = &block,
                  .rope = attention->rope < 0 ? nullptr : &layout_.ropes.at(static_cast<size_t>(attention->rope)),
                  .hidden_size = layout_.lists.front().hidden_size,
                  .layers = {}};
    for (const LayerPlan& plan : block.layers)
      if (const auto found = packed_.find(plan.name); found != packed_.end()) {
        whole.layers.push_back(&found->second);
        whole.spec.layers.push_back(&found->second.spec);
      }
    if (whole.layers.size() != block.layers.size()) continue;
    const PackedLayer& first = *whole.layers.front();
    const bool alike = std::all_of(whole.layers.begin(), whole.layers.end(), [&](const PackedLayer* layer) {
      return layer->backend == first.backend && layer->device == first.device && layer->act_scheme == nullptr;
    });
    if (!alike) continue;
    const BackendVerdict verdict = first.backend->supports_block(whole.spec);
    if (!verdict || verdict.device != first.device) continue;
    whole.backend = first.backend;
    whole.device = first.device;
    whole_.emplace(static_cast<int64_t>(i), std::move(whole));
  }
}

void Engine::make_whole(WholeBlock& block) {
  if (block.ready) return;
  BlockWeights weights{.spec = block.spec, .layers = {}, .norm = [this](const std::string& tensor) {
                         return source_.weights().load(tensor).to(dtype_).to(at::kFloat);
                       }};
  for (PackedLayer* layer : block.layers)
    weights.layers.push_back(
        weights_of(*layer, [this, layer] { return sdk::packed_of(source_).unpack(layer->spec.name); }));
  block.ready = block.backend->make_block(weights, block.device, dtype_);
}

bool Engine::run_whole(int64_t index, at::Tensor& hidden, const ForwardContext& context,
                       sdk::SequenceCache& cache) const {
  const auto found = whole_.find(index);
  if (found == whole_.end()) return false;
  const WholeBlock& block = found->second;
  ARKIT_CHECK(block.ready, "a block is not ready");
  const auto& attention = std::get<Attention>(block.spec.layout->mixer);
  const auto& pools = cache.pools(index, attention.kv_heads, attention.key_dim, attention.value_dim, dtype_);
  std::vector<BlockStep::Span> spans;
  for (const SequenceSpan& span : context.sequences)
    spans.push_back({.past = span.past, .count = span.count, .pages = cache.pages(span.id).data()});
  // Blocks write over their input, and the first one's may be a view of the embeddings.
  at::Tensor x = index == 0 ? hidden.clone(at::MemoryFormat::Contiguous) : hidden.contiguous();
  BlockStep step{.hidden = x.view({-1, block.spec.hidden_size}),
                 .cos = {},
                 .sin = {},
                 .keys = pools.key,
                 .values = pools.value,
                 .spans = spans};
  if (block.spec.rope != nullptr) {
    const auto rope = static_cast<size_t>(attention.rope);
    const auto table = [](const at::Tensor& t) { return t.reshape({-1, t.size(-1)}).to(at::kFloat).contiguous(); };
    step.cos = table(context.cos[rope]);
    step.sin = table(context.sin[rope]);
  }
  block.ready->run(step);
  hidden = std::move(x);
  return true;
}

}  // namespace arkit
