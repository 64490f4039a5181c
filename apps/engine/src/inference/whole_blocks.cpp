// Engine: decoder blocks that a backend takes whole.
#include <algorithm>
#include <optional>
#include <tuple>
#include <variant>

#include <ATen/ATen.h>

#include <arkit/engine/open_source.h>
#include <arkit/error.h>
#include <arkit/head_strips.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/str.h>

#include "inference/engine_parts.h"

namespace arkit {

void Engine::use_whole_blocks(int64_t head_bits, const std::string& kv_cache_dtype) {
  find_whole_blocks();
  if (!whole_.empty() && head_bits < 16) plan_packed_head(head_bits);
  choose_cache(kv_cache_dtype);
}

void Engine::find_whole_blocks() {
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
      return layer->backend == first.backend && layer->device == first.device && layer->act_scheme == nullptr &&
             layer->exact == first.exact;
    });
    if (!alike) continue;
    const BackendVerdict verdict = first.backend->supports_block(whole.spec, first.device);
    if (verdict.score == 0) continue;
    whole.cache_int8 = verdict.cache_int8;
    whole_.emplace(static_cast<int64_t>(i), std::move(whole));
  }
}

void Engine::choose_cache(const std::string& dtype) {
  const auto all = [&](auto good) { return std::all_of(whole_.begin(), whole_.end(), good); };
  const auto takes_bytes = [](const auto& block) { return block.second.cache_int8; };
  if (dtype == "auto") return;
  const bool bytes = dtype == "int8";
  const at::ScalarType wanted = bytes ? at::kChar : compute_dtype(dtype);
  if (wanted == dtype_) return;
  const bool everywhere = static_cast<int64_t>(whole_.size()) == model_->num_blocks();
  if (!everywhere || (bytes && !all(takes_bytes)))
    throw_unsupported(str(
        "'", source_.path().string(), "': keys and values are kept as ", dtype,
        " only where a backend runs whole blocks", everywhere ? " and takes such keys and values" : "", ", and ",
        everywhere ? std::string("its backend does not")
                   : str(model_->num_blocks() - static_cast<int64_t>(whole_.size()), " of ", model_->num_blocks(),
                         " blocks run layer by layer"),
        "; name a backend that does ('arkit inspect MODEL' shows what each says), or leave kv_cache_dtype at auto"));
  cache_dtype_ = wanted;
}

int64_t Engine::page_size(int64_t wanted) const {
  constexpr int64_t kOfBytes = 16;
  return cache_dtype_ == at::kChar ? (wanted + kOfBytes - 1) / kOfBytes * kOfBytes : wanted;
}

void Engine::plan_packed_head(int64_t bits) {
  constexpr int64_t kGroupOfFewBits = 32;  // a row's scale would lose too much
  const auto head = std::find_if(layout_.outside.begin(), layout_.outside.end(),
                                 [](const LayerPlan& plan) { return plan.role == LayerRole::head; });
  if (head == layout_.outside.end() || packed_.contains(head->name) || !has_head_strips()) return;
  const PackedLayer& beside = *whole_.begin()->second.layers.front();
  PackedLayer layer;
  layer.spec = {.name = head->name,
                .packing = {},
                .out_features = head->out_features,
                .in_features = head->in_features,
                .has_bias = head->has_bias,
                .quant = {.weight = {.bits = static_cast<int>(bits),
                                     .group_size = bits < 8 ? kGroupOfFewBits : -1,
                                     .scale_dtype = bits < 8 ? "float16" : "float32"}}};
  layer.backend = beside.backend;
  layer.device = beside.device;
  const LinearSpec* const one = &layer.spec;
  if (layer.backend->supports_on({&one, 1}, layer.device).score == 0) return;
  packed_head_ = head->name;
  packed_.emplace(packed_head_, std::move(layer));
}

// Strip by strip: a head in float32 may be larger than all blocks.
QuantizedWeight Engine::rounded_head(const LinearSpec& spec) const {
  constexpr int64_t kRows = 4096;
  Scheme& scheme = registry_.scheme_for(spec.quant.weight.data_type);
  QuantizedWeight whole{.codes = at::empty({spec.out_features, spec.in_features}, at::kByte)};
  std::vector<at::Tensor> scales;
  for (int64_t first = 0; first < spec.out_features; first += kRows) {
    const Linear strip = head_strip(first, std::min(kRows, spec.out_features - first));
    const QuantizedWeight part =
        scheme.quantize_rtn(strip.weight.to(at::kFloat), spec.quant.weight, RtnMode::plain, {}, 0, {});
    whole.codes.narrow(0, first, part.codes.size(0)).copy_(part.codes);
    scales.push_back(part.scale);
  }
  whole.scale = at::cat(scales);
  return whole;
}

// Rounded once where there is a cache of prepared layers: its key follows from the tensors as they are stored.
void Engine::make_packed_head() {
  PackedLayer& layer = packed_.at(packed_head_);
  if (layer.linear) return;
  const LinearSpec& spec = layer.spec;
  Scheme& scheme = registry_.scheme_for(spec.quant.weight.data_type);
  std::optional<QuantizedWeight> rounded;
  const auto codes = [&]() -> const QuantizedWeight& {
    if (!rounded) rounded = rounded_head(spec);
    return *rounded;
  };
  const std::string own = packed_head_ + ".weight";
  const std::string stored = source_.weights().find(own) == nullptr ? layout_.tokens.embedding : own;
  LayerWeights weights{spec, {{"weight", source_.weights().load(stored)}}, codes, [&](at::ScalarType dtype) {
                         return scheme.dequantize(codes(), spec.quant.weight, dtype);
                       }};
  if (spec.has_bias) weights.packed["bias"] = source_.weights().load(packed_head_ + ".bias");
  layer.linear = make_linears(layer, {&weights, 1});
  source_.weights().release(stored);
}

void Engine::make_whole(WholeBlock& block) {
  if (block.ready) return;
  BlockWeights weights{.spec = block.spec, .layers = {}, .norm = [this](const std::string& tensor) {
                         return source_.weights().load(tensor).to(dtype_).to(at::kFloat);
                       }};
  for (PackedLayer* layer : block.layers)
    weights.layers.push_back(
        weights_of(*layer, [this, layer] { return sdk::packed_of(source_).unpack(layer->spec.name); }));
  const PackedLayer& first = *block.layers.front();
  block.ready = cache_ ? cache_->prepare(*first.backend, weights, first.device, dtype_)
                       : first.backend->make_block(weights, first.device, dtype_, {});
  for (const PackedLayer* layer : block.layers) release_parts(*layer);
}

bool Engine::run_whole(int64_t index, at::Tensor& hidden, const ForwardContext& context, sdk::SequenceCache& cache,
                       WholeStep& shared) const {
  const auto found = whole_.find(index);
  if (found == whole_.end()) return false;
  const WholeBlock& block = found->second;
  ARKIT_CHECK(block.ready, "a block is not ready");
  const auto& attention = std::get<Attention>(block.spec.layout->mixer);
  const at::ScalarType dtype = cache_dtype_.value_or(dtype_);
  const int64_t more = dtype == at::kChar ? 4 : 0;  // a scale each
  const auto& pools =
      cache.pools(index, attention.kv_heads, attention.key_dim + more, attention.value_dim + more, dtype);
  if (shared.spans.empty())
    for (const SequenceSpan& span : context.sequences)
      shared.spans.push_back({.past = span.past, .count = span.count, .pages = cache.pages(span.id).data()});
  // Blocks write over their input, and the first one's may be a view of the embeddings.
  at::Tensor x = index == 0 ? hidden.clone(at::MemoryFormat::Contiguous) : hidden.contiguous();
  BlockStep step{.hidden = x.view({-1, block.spec.hidden_size}),
                 .cos = {},
                 .sin = {},
                 .keys = pools.key,
                 .values = pools.value,
                 .spans = shared.spans};
  if (block.spec.rope != nullptr) {
    const auto [tables, fresh] = shared.turns.try_emplace(attention.rope);
    if (fresh) {
      const auto rope = static_cast<size_t>(attention.rope);
      const auto table = [](const at::Tensor& t) { return t.reshape({-1, t.size(-1)}).to(at::kFloat).contiguous(); };
      tables->second = {table(context.cos[rope]), table(context.sin[rope])};
    }
    std::tie(step.cos, step.sin) = tables->second;
  }
  block.ready->run(step);
  hidden = std::move(x);
  return true;
}

}  // namespace arkit
