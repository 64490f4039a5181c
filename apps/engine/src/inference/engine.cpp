#include "inference/engine.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <arkit/engine/open_source.h>
#include <arkit/error.h>
#include <arkit/scheme.h>
#include <arkit/str.h>

#include "inference/backend_choice.h"
#include "inference/head_walk.h"
#include "model_free/checkpoint_source.h"
#include "transform/checkpoint_transform.h"

namespace arkit {

struct Engine::PackedLayer {
  LinearSpec spec;  // see for_backends
  InferenceBackend* backend = nullptr;
  size_t device = 0;             // of the backend
  Scheme* act_scheme = nullptr;  // null = the backend is given activations as they are
  at::Tensor act_max;            // calibrated maximum of static activations; undefined = dynamic
  std::unique_ptr<QuantLinear> linear;
  std::vector<std::string> parts;  // names of its tensors
};

// Sends packed layers to their backend.
class Engine::Hook final : public BlockHook {
 public:
  explicit Hook(const Engine& engine) : engine_(engine) {}

  at::Tensor linear(const Linear& layer, const at::Tensor& x) override {
    if (layer.weight.defined()) return BlockHook::linear(layer, x);
    const auto found = engine_.packed_.find(layer.name);
    ARKIT_CHECK(found != engine_.packed_.end() && found->second.linear, str("layer '", layer.name, "' is not ready"));
    const PackedLayer& packed = found->second;
    if (packed.act_scheme == nullptr) return packed.linear->forward(x);
    return packed.linear->forward(packed.act_scheme->fake_quant_act(x, packed.spec.quant.act, packed.act_max));
  }

  at::Tensor attention_state(std::string_view module, AttentionState state, const at::Tensor& x) override {
    return engine_.attention_(module, state, x);
  }

 private:
  const Engine& engine_;
};

at::ScalarType compute_dtype(const std::string& name) {
  if (name == "float32") return at::kFloat;
  if (name == "bfloat16") return at::kBFloat16;
  if (name == "auto") return host_info().avx512_bf16 || host_info().amx_bf16 ? at::kBFloat16 : at::kFloat;
  throw_usage(str("unknown dtype '", printable(name), "'; expected float32, bfloat16 or auto"));
}

Engine::Engine(const ModelSource& source, const Registry& registry, at::ScalarType dtype, const std::string& backend)
    : plain_tables_(model_free::view_plain_tables(source, registry, dtype)),
      source_(plain_tables_ ? *plain_tables_ : source),
      registry_(registry),
      dtype_(dtype),
      model_(adapter_for(source_, registry).open(source_, dtype)),
      attention_(source_, registry),
      hook_(std::make_unique<Hook>(*this)) {
  choose_backends(backend);
  if (!attention_.empty() && model_->attentions().empty())
    throw_unsupported(
        str("'", source.path().string(),
            "': has static scales for keys and values, which the plugin of its model family cannot apply"));
}

Engine::~Engine() = default;

void Engine::choose_backends(const std::string& backend) {
  if (!backend.empty()) (void)registry_.backend(backend);  // an unknown name is an error even for a plain model
  for (const LinearSpec& packed : source_.packed_layers()) {
    LinearSpec spec = for_backends(packed, source_);
    const BackendChoice choice = choose_backend(spec, registry_, backend);
    for (const std::string& refusal : choice.refusals)
      if (std::find(refusals_.begin(), refusals_.end(), refusal) == refusals_.end()) refusals_.push_back(refusal);
    if (choice.backend == nullptr)
      throw_unsupported(str("layer '", spec.name, "': no backend runs packing '", spec.packing, "' (",
                            quoted_list(choice.refusals), "); 'arkit list backends' shows what there is"));
    PackedLayer& layer = packed_[spec.name];
    layer.backend = choice.backend;
    layer.device = choice.verdict.device;
    if (spec.quant.act.quantized() && !choice.verdict.own_activations)
      layer.act_scheme = &registry_.scheme_for(spec.quant.act.data_type);
    layer.spec = std::move(spec);
    ++layers_by_backend_[std::string(choice.backend->info().name)];
  }
}

void Engine::make_ready(const std::string& name) {
  const auto found = packed_.find(name);
  if (found == packed_.end() || found->second.linear) return;
  PackedLayer& layer = found->second;
  const LinearSpec& spec = layer.spec;
  const QuantizedWeight weight = source_.unpack(name);
  if (const auto found_max = weight.extra.find("act_max"); found_max != weight.extra.end())
    layer.act_max = found_max->second;
  if (spec.quant.act.quantized() && !spec.quant.act.dynamic && !layer.act_max.defined())
    throw_input(str("layer '", name, "': its activations are static but the export has no scale for them"));
  const auto dequantized = [&](at::ScalarType dtype) {
    return registry_.scheme_for(spec.quant.weight.data_type).dequantize(weight, spec.quant.weight, dtype);
  };
  const LayerWeights weights{spec, source_.packed_tensors(name), [&] { return weight; }, dequantized};
  layer.parts.clear();
  for (const auto& [suffix, tensor] : weights.packed) layer.parts.push_back(str(name, ".", suffix));
  layer.linear = layer.backend->make_linear(weights, layer.device, dtype_);
}

void Engine::load_block(int64_t block) {
  const c10::NoGradGuard no_grad;
  model_->load_block(block);
  const std::vector<Linear*> linears = model_->block_linears(block);
  check_applied(source_, linears);
  for (const Linear* linear : linears) make_ready(linear->name);
}

void Engine::release_block(int64_t block) noexcept {
  if (keeps_) return;
  const std::string prefix = model_->block_name(block) + ".";
  for (auto at = packed_.lower_bound(prefix); at != packed_.end() && at->first.starts_with(prefix); ++at) {
    at->second.linear.reset();
    for (const std::string& part : at->second.parts) source_.weights().release(part);
  }
  model_->release_block(block);
}

void Engine::load_all() {
  for (int64_t block = 0; block < model_->num_blocks(); ++block) load_block(block);
  model_->load_rest();
}

at::Tensor Engine::run_block(int64_t block, const at::Tensor& hidden, const ForwardContext& context) const {
  const c10::NoGradGuard no_grad;
  return model_->run_block(block, hidden, context, *hook_);
}

at::Tensor Engine::logits(const at::Tensor& hidden) {
  const c10::NoGradGuard no_grad;
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
                           const at::Tensor& position_ids, KvCache* cache, bool last_only) {
  const c10::NoGradGuard no_grad;
  const int64_t seqlen = input_ids.size(1);
  const ForwardContext context = model_->context(input_ids.size(0), seqlen, attention_mask, position_ids, cache);
  at::Tensor hidden = model_->embed(input_ids);
  for (int64_t block = 0; block < model_->num_blocks(); ++block) hidden = run_block(block, hidden, context);
  return logits(last_only ? hidden.narrow(1, seqlen - 1, 1) : hidden);
}

void Engine::check_ids(const at::Tensor& input_ids, const std::string& what) const {
  if (input_ids.numel() == 0) throw_input(str(what, ": no token ids"));
  const int64_t least = input_ids.min().item<int64_t>(), most = input_ids.max().item<int64_t>();
  if (least < 0 || most >= model_->vocab_size())
    throw_input(str(what, ": token id ", least < 0 ? least : most, " is outside the model's vocabulary of ",
                    model_->vocab_size(), "; was it made with another tokenizer?"));
}

}  // namespace arkit
