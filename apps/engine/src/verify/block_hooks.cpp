#include "verify/block_hooks.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/scheme.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/str.h>

#include "verify/expected_error.h"
#include "verify/layer_check.h"

namespace arkit {
namespace {

// Families leave the bias of a packed layer to whoever computes it.
at::Tensor bias_of(const Linear& layer, const ModelSource& source, bool packed) {
  if (layer.bias.defined()) return layer.bias;
  if (!packed) return {};
  const TensorMap tensors = sdk::packed_of(source).tensors(layer.name);
  const auto found = tensors.find("bias");
  return found == tensors.end() ? at::Tensor() : found->second.to(at::kFloat);
}

}  // namespace

void SourceWeightsHook::lend(const std::vector<const Linear*>& layers) {
  lent_.clear();
  for (const Linear* layer : layers) lent_.emplace(layer->name, layer);
}

at::Tensor SourceWeightsHook::linear(const Linear& layer, const at::Tensor& x) {
  const bool packed = !layer.weight.defined();
  if (!packed && !facts_.quantized.contains(layer.name)) return BlockHook::linear(layer, x);
  const auto found = lent_.find(layer.name);
  if (found == lent_.end()) throw_input(str("layer '", layer.name, "': the source has none of this name"));
  const Linear& original = *found->second;
  if (original.weight.size(1) != x.size(-1) || original.out_features != layer.out_features)
    throw_input(str("layer '", layer.name, "': has another shape than in the source"));
  return at::linear(x, original.weight, facts_.tuned_norms ? original.bias : bias_of(layer, exported_, packed));
}

at::Tensor SourceWeightsHook::norm_weight(std::string_view name, const at::Tensor& weight) {
  if (!facts_.tuned_norms || source_.weights().find(name) == nullptr) return weight;
  return source_.weights().load(name).to(weight.scalar_type());
}

DecodedHook::DecodedHook(const ModelSource& exported, const Registry& registry)
    : exported_(exported), registry_(registry), attention_(exported, registry) {
  for (const LinearSpec& spec : sdk::packed_layers(exported)) specs_.emplace(spec.name, &spec);
}

DecodedHook::Decoded DecodedHook::decode(const Linear& layer, const LinearSpec& spec) const {
  const QuantizedWeight packed = sdk::packed_of(exported_).unpack(layer.name);
  return {.weight = registry_.scheme_for(spec.quant.weight.data_type).dequantize(packed, spec.quant.weight, at::kFloat),
          .bias = bias_of(layer, exported_, true),
          .act_max = packed.act_max};
}

void DecodedHook::keep(const std::vector<const Linear*>& layers) {
  for (const Linear* layer : layers) kept_.try_emplace(layer->name);
}

at::Tensor DecodedHook::linear(const Linear& layer, const at::Tensor& x) {
  if (layer.weight.defined()) return BlockHook::linear(layer, x);
  const auto found = specs_.find(layer.name);
  if (found == specs_.end()) throw_input(str("layer '", layer.name, "': has neither a weight nor a packed one"));
  const TensorQuant& act = found->second->quant.act;
  const auto kept = kept_.find(layer.name);
  Decoded decoded;
  if (kept != kept_.end() && kept->second)
    decoded = *kept->second;
  else
    decoded = decode(layer, *found->second);
  if (kept != kept_.end()) kept->second = decoded;
  at::Tensor input = x;
  if (act.quantized()) {
    if (!act.dynamic && !decoded.act_max.defined())
      throw_input(str("layer '", layer.name, "': its activations are static but the export has no scale for them"));
    input = registry_.scheme_for(act.data_type).fake_quant_act(x, act, decoded.act_max);
    const double size = x.norm().item<double>();
    double& worst = input_errors_[layer.name];
    if (size > 0.0) worst = std::max(worst, (input - x).norm().item<double>() / size);
  }
  return at::linear(input, decoded.weight, decoded.bias);
}

at::Tensor DecodedHook::attention(AttentionCall call) {
  return PlainHook::attention(attention_.rounded(std::move(call)));
}

double DecodedHook::input_error(std::string_view layer) const {
  const auto found = input_errors_.find(layer);
  return found == input_errors_.end() ? 0.0 : found->second;
}

double DecodedHook::attention_error() const {
  double worst = 0.0;
  for (const AttentionSpec& spec : sdk::attention_modules(exported_)) {
    const double kv = expected_error(spec.quant.kv, 1), query = expected_error(spec.quant.query, 1);
    worst = std::max(worst, 2.0 * kv * kv + query * query);
  }
  return worst;
}

at::Tensor DisturbedHook::signs(at::IntArrayRef sizes) {
  at::Tensor signs = at::empty(sizes, at::kFloat);
  float* out = signs.mutable_data_ptr<float>();
  for (int64_t i = 0; i < signs.numel(); ++i) out[i] = (chance_() & 1U) != 0 ? 1.0F : -1.0F;
  return signs;
}

// Independent errors of weights, `error` of their root mean square, add up to this in each number of a row of outputs.
at::Tensor DisturbedHook::linear(const Linear& layer, const at::Tensor& x) {
  at::Tensor y = BlockHook::linear(layer, x);
  const auto found = errors_.find(layer.name);
  if (found == errors_.end() || found->second == 0.0) return y;
  const double weights = layer.weight.norm().item<double>() / std::sqrt(static_cast<double>(layer.weight.numel()));
  return y + signs(y.sizes()) * x.norm(2, -1, true) * (found->second * weights);
}

at::Tensor DisturbedHook::disturbed(const at::Tensor& state) {
  const double share = state_error_ / std::sqrt(static_cast<double>(state.size(-1)));
  return state + signs(state.sizes()) * state.norm(2, -1, true) * share;
}

at::Tensor DisturbedHook::attention(AttentionCall call) {
  if (state_error_ != 0.0)
    for (at::Tensor* state : {&call.query, &call.key, &call.value}) *state = disturbed(*state);
  return PlainHook::attention(std::move(call));
}

void DecodedHook::release(const std::string& layer) noexcept {
  kept_.erase(layer);
  if (specs_.contains(layer)) release_layer(exported_, layer);
}

}  // namespace arkit
