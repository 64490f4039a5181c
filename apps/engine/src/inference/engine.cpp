#include "inference/engine.h"

#include <algorithm>
#include <functional>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <arkit/engine/open_source.h>
#include <arkit/error.h>
#include <arkit/scheme.h>
#include <arkit/sdk/block_hooks.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/str.h>

#include "inference/better_backend.h"
#include "inference/engine_parts.h"
#include "inference/head_walk.h"
#include "model_free/checkpoint_source.h"
#include "transform/checkpoint_transform.h"

namespace arkit {

// Sends packed layers to their backend.
class Engine::Hook final : public sdk::PlainHook {
 public:
  explicit Hook(Engine& engine) : engine_(engine) {}

  at::Tensor linear(const Linear& layer, const at::Tensor& x) override {
    if (layer.weight.defined()) return BlockHook::linear(layer, x);
    PackedLayer& packed = found(layer);
    return engine_.alone(packed).forward(packed.input(x));
  }

  std::vector<at::Tensor> linears(std::span<const Linear* const> layers, const at::Tensor& x) override {
    const Linear& first = *layers.front();
    if (first.weight.defined()) return BlockHook::linears(layers, x);
    const PackedLayer& packed = found(first);
    if (packed.unit == nullptr || !packed.unit->is(layers)) return BlockHook::linears(layers, x);
    ARKIT_CHECK(packed.unit->linears, str("layer '", first.name, "' is not ready"));
    return packed.unit->linears->forward_all(packed.input(x));
  }

 private:
  PackedLayer& found(const Linear& layer) {
    const auto found = engine_.packed_.find(layer.name);
    ARKIT_CHECK(found != engine_.packed_.end(), str("layer '", layer.name, "' has neither a weight nor a packed one"));
    return found->second;
  }

  Engine& engine_;
};

at::ScalarType compute_dtype(const std::string& name) {
  if (name == "float32") return at::kFloat;
  if (name == "bfloat16") return at::kBFloat16;
  if (name == "auto") return host_info().avx512_bf16 || host_info().amx_bf16 ? at::kBFloat16 : at::kFloat;
  throw_usage(str("unknown dtype '", printable(name), "'; expected float32, bfloat16 or auto"));
}

namespace {

Reporter& nobody() {
  static Reporter silent;
  return silent;
}

std::string layers_text(int64_t count) {
  return str(count, count == 1 ? " packed layer" : " packed layers");
}

}  // namespace

Engine::Engine(const ModelSource& source, const Registry& registry, at::ScalarType dtype, const std::string& backend)
    : Engine(source, registry, dtype, BackendWish(backend), nobody()) {}

Engine::Engine(const ModelSource& source, const Registry& registry, at::ScalarType dtype, const BackendWish& wish,
               Reporter& reporter)
    : plain_tables_(model_free::view_plain_tables(source, registry, dtype)),
      source_(plain_tables_ ? *plain_tables_ : source),
      registry_(registry),
      dtype_(dtype),
      model_(adapter_for(source_, registry).open(source_, dtype)),
      attention_(source_, registry),
      hook_(std::make_unique<Hook>(*this)),
      dense_(std::make_unique<QuantizedAttention>(*hook_, attention_)) {
  choose_backends(wish, reporter);
  choose_units();
  if (!attention_.empty() && model_->attentions().empty())
    throw_unsupported(
        str("'", source.path().string(),
            "': has static scales for keys and values, which the plugin of its model family cannot apply"));
}

Engine::~Engine() = default;

void Engine::choose_backends(const BackendWish& wish, Reporter& reporter) {
  const BackendChooser chooser(registry_, wish);  // an unknown name is an error even for a plain model
  if (!chooser.stand_in().empty()) reporter.info(chooser.stand_in());
  if (!wish.prepared_cache.empty() && !sdk::packed_layers(source_).empty())
    cache_ = std::make_unique<PreparedCache>(wish.prepared_cache, registry_, reporter);
  std::vector<ScoredLayer> scored;
  for (const LinearSpec& packed : sdk::packed_layers(source_)) {
    LinearSpec spec = for_backends(packed, source_);
    const BackendChoice choice = chooser.choose_or_throw(spec);
    scored.push_back({&packed.quant, choice.verdict.score});
    PackedLayer& layer = packed_[spec.name];
    layer.backend = choice.backend;
    layer.device = choice.verdict.device;
    layer.exact = choice.exact;
    if (spec.quant.act.quantized() && !choice.verdict.own_activations)
      layer.act_scheme = &registry_.scheme_for(spec.quant.act.data_type);
    layer.spec = std::move(spec);
    ++layers_by_backend_[std::string(choice.backend->info().name)];
  }
  if (!chooser.automatic() || wish.exact) return;
  for (const auto& [name, count] : layers_by_backend_)
    if (const KnownBackend* known = find_backend(known_backends(), name); known != nullptr && known->full_size)
      reporter.info(str(layers_text(count), count == 1 ? " runs" : " run", " dequantized, in full size: backend '",
                        name, "' keeps no packed weights"));
  if (const std::string hint = better_backend(scored, registry_, known_backends(), chooser.device()); !hint.empty())
    reporter.info(hint);
}

// One backend, one device, one rounding of the input: what the layers of a unit share.
bool Engine::one_unit(const std::vector<PackedLayer*>& layers) const {
  const PackedLayer& first = *layers.front();
  const auto rotation = sdk::input_rotation(source_, first.spec.name);
  std::vector<const LinearSpec*> specs;
  for (const PackedLayer* layer : layers) {
    const bool alike = layer->backend == first.backend && layer->device == first.device &&
                       layer->act_scheme == first.act_scheme && layer->exact == first.exact &&
                       layer->spec.quant.act == first.spec.quant.act &&
                       sdk::input_rotation(source_, layer->spec.name) == rotation;
    if (!alike) return false;
    specs.push_back(&layer->spec);
  }
  BackendVerdict verdict = first.backend->supports_on(specs, first.device);
  if (verdict.score == 0) return false;
  if (first.exact) verdict.own_activations = false;
  const TensorQuant& act = first.spec.quant.act;
  if (!act.quantized()) return true;
  const bool own_ranges = !act.dynamic || act.data_type.find("static") != std::string::npos;
  return !own_ranges && verdict.own_activations == (first.act_scheme == nullptr);
}

// Families give the layers of a fused group to the hook together.
void Engine::choose_units() {
  if (packed_.empty()) return;
  std::map<std::string, std::vector<PackedLayer*>> groups;
  for (const LayerPlan& plan : model_->linears()) {
    if (plan.fused_group.empty()) continue;
    const auto found = packed_.find(plan.name);
    groups[plan.fused_group].push_back(found == packed_.end() ? nullptr : &found->second);
  }
  for (auto& [group, layers] : groups) {
    const bool all_packed = std::find(layers.begin(), layers.end(), nullptr) == layers.end();
    if (layers.size() < 2 || !all_packed || !one_unit(layers)) continue;
    PackedUnit& unit = units_[group];
    unit.layers = layers;
    for (PackedLayer* layer : layers) layer->unit = &unit;
  }
}

LayerWeights Engine::weights_of(PackedLayer& layer, const std::function<QuantizedWeight()>& codes) const {
  const LinearSpec& spec = layer.spec;
  const auto dequantized = [this, &spec, codes](at::ScalarType dtype) {
    return registry_.scheme_for(spec.quant.weight.data_type).dequantize(codes(), spec.quant.weight, dtype);
  };
  LayerWeights weights{spec, sdk::packed_of(source_).tensors(spec.name), codes, dequantized, layer.exact};
  layer.parts.clear();
  for (const auto& [suffix, tensor] : weights.packed) layer.parts.push_back(str(spec.name, ".", suffix));
  return weights;
}

std::unique_ptr<QuantLinear> Engine::make_linears(const PackedLayer& first,
                                                  std::span<const LayerWeights> weights) const {
  return cache_ ? cache_->prepare(*first.backend, weights, first.device, dtype_)
                : first.backend->make_linears(weights, first.device, dtype_);
}

void Engine::release_parts(const PackedLayer& layer) const noexcept {
  for (const std::string& part : layer.parts) source_.weights().release(part);
}

void Engine::make_ready(const std::string& name) {
  const auto found = packed_.find(name);
  if (found == packed_.end()) return;
  if (found->second.unit == nullptr) {
    (void)alone(found->second);
    return;
  }
  PackedUnit& unit = *found->second.unit;
  if (unit.linears) return;
  std::vector<LayerWeights> weights;
  for (PackedLayer* layer : unit.layers)  // unpacked when asked for: codes of several are not in memory side by side
    weights.push_back(weights_of(*layer, [this, layer] { return sdk::packed_of(source_).unpack(layer->spec.name); }));
  unit.linears = make_linears(found->second, weights);
  for (const PackedLayer* layer : unit.layers) release_parts(*layer);
}

// Also for a layer of a unit, where a family computes it by itself.
const QuantLinear& Engine::alone(PackedLayer& layer) {
  if (layer.linear) return *layer.linear;
  const LinearSpec& spec = layer.spec;
  std::optional<QuantizedWeight> weight;  // once, and only if somebody asks
  const auto unpacked = [&]() -> const QuantizedWeight& {
    if (!weight) weight = sdk::packed_of(source_).unpack(spec.name);
    return *weight;
  };
  if (spec.quant.act.quantized()) layer.act_max = unpacked().act_max;
  if (spec.quant.act.quantized() && !spec.quant.act.dynamic && !layer.act_max.defined())
    throw_input(str("layer '", spec.name, "': its activations are static but the export has no scale for them"));
  const LayerWeights weights = weights_of(layer, unpacked);
  layer.linear = make_linears(layer, {&weights, 1});
  release_parts(layer);
  return *layer.linear;
}

int64_t Engine::prepared() const {
  return std::count_if(packed_.begin(), packed_.end(), [](const auto& one) { return one.second.linear != nullptr; }) +
         std::count_if(units_.begin(), units_.end(), [](const auto& one) { return one.second.linears != nullptr; });
}

void Engine::load_block(int64_t block) {
  const c10::NoGradGuard no_grad;
  if (const auto whole = whole_.find(block); whole != whole_.end()) return make_whole(whole->second);
  model_->load_block(block);
  const std::vector<Linear*> linears = model_->block_linears(block);
  check_applied(source_, linears);
  for (const Linear* linear : linears) make_ready(linear->name);
}

void Engine::release_block(int64_t block) noexcept {
  if (keeps_) return;
  if (const auto whole = whole_.find(block); whole != whole_.end()) whole->second.ready.reset();
  const std::string prefix = model_->block_name(block) + ".";
  for (auto at = packed_.lower_bound(prefix); at != packed_.end() && at->first.starts_with(prefix); ++at) {
    at->second.linear.reset();
    if (at->second.unit != nullptr) at->second.unit->linears.reset();
    release_parts(at->second);
  }
  model_->release_block(block);
}

void Engine::load_all() {
  for (int64_t block = 0; block < model_->num_blocks(); ++block) load_block(block);
  model_->load_rest();
  if (!packed_head_.empty()) make_packed_head();
}

at::Tensor Engine::run_block(int64_t block, const at::Tensor& hidden, const ForwardContext& context) const {
  const c10::NoGradGuard no_grad;
  return model_->run_block(block, hidden, context, *dense_);
}

at::Tensor Engine::logits(const at::Tensor& hidden) {
  const c10::NoGradGuard no_grad;
  if (!packed_head_.empty()) {
    make_packed_head();
    return strip_logits(hidden, Linear{.name = packed_head_});
  }
  make_ready(model_->head().name);
  return model_->logits(hidden, *hook_);
}

void Engine::load_rest() {
  model_->load_rest();
  if (keeps_ && has_head_strips()) (void)model_->head();
}

bool Engine::has_head_strips() const {
  return strips_of(*model_) != nullptr;
}

Linear Engine::head_strip(int64_t first, int64_t count) const {
  const c10::NoGradGuard no_grad;
  return strips_of(*model_)->head_strip(first, count);
}

at::Tensor Engine::strip_logits(const at::Tensor& hidden, const Linear& strip) const {
  const c10::NoGradGuard no_grad;
  return strips_of(*model_)->strip_logits(hidden, strip, *hook_);
}

at::Tensor Engine::forward(const at::Tensor& input_ids, const at::Tensor& attention_mask,
                           const at::Tensor& position_ids, bool last_only) {
  const c10::NoGradGuard no_grad;
  const int64_t seqlen = input_ids.size(1);
  const ForwardContext context = model_->context(input_ids.size(0), seqlen, attention_mask, position_ids, {});
  at::Tensor hidden = model_->embed(input_ids);
  for (int64_t block = 0; block < model_->num_blocks(); ++block) hidden = run_block(block, hidden, context);
  return logits(last_only ? hidden.narrow(1, seqlen - 1, 1) : hidden);
}

BlockHook& Engine::layers() const {
  return *hook_;
}

void Engine::check_ids(const at::Tensor& input_ids, const std::string& what) const {
  if (input_ids.numel() == 0) throw_input(str(what, ": no token ids"));
  const int64_t least = input_ids.min().item<int64_t>(), most = input_ids.max().item<int64_t>();
  if (least < 0 || most >= model_->vocab_size())
    throw_input(str(what, ": token id ", least < 0 ? least : most, " is outside the model's vocabulary of ",
                    model_->vocab_size(), "; was it made with another tokenizer?"));
}

}  // namespace arkit
