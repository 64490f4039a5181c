#include "gguf_packed.h"

#include <algorithm>
#include <utility>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <arkit/error.h>
#include <arkit/str.h>

#include "gguf_codes.h"

namespace arkit::gguf {
namespace {

constexpr std::string_view kDotWeight = ".weight";
constexpr int64_t kGrain = int64_t{1} << 16;  // elements a thread decodes at least

TensorQuant quant_of(const CodeLayout& layout) {
  TensorQuant quant;
  quant.bits = layout.bits;
  quant.group_size = layout.group_size;
  quant.sym = !layout.has_offsets;
  quant.scale_dtype = "float32";
  return quant;
}

}  // namespace

GgufLayers::GgufLayers(const File& file, const HyperParameters& parameters, const TensorScales& scales,
                       const GgufWeights& weights)
    : weights_(weights) {
  for (const TensorEntry& tensor : file.tensors) {
    if (!is_packed_layer(tensor)) continue;
    const std::string name = hf_tensor_name(tensor.name, parameters.block_count).value();
    LinearSpec spec;
    spec.name = name.substr(0, name.size() - kDotWeight.size());
    spec.packing = str("gguf:", tensor.type->name);
    spec.out_features = tensor.shape[0];
    spec.in_features = tensor.shape[1];
    spec.has_bias = weights.find(spec.name + ".bias") != nullptr;
    spec.quant.weight = quant_of(code_layout(tensor.type->type));
    const auto scale = scales.find(tensor.name);
    by_name_.emplace(spec.name, Known{layers_.size(), tensor.type->type, scale == scales.end() ? 1 : scale->second});
    layers_.push_back(std::move(spec));
  }
}

const GgufLayers::Known& GgufLayers::known(std::string_view layer) const {
  const auto found = by_name_.find(layer);
  if (found == by_name_.end()) throw_input(str("no packed layer '", printable(layer), "'"));
  return found->second;
}

TensorMap GgufLayers::tensors(std::string_view layer) const {
  const LinearSpec& spec = layers_[known(layer).index];
  TensorMap tensors;
  tensors.emplace("weight", weights_.load(str(layer, kDotWeight)));
  if (spec.has_bias) tensors.emplace("bias", weights_.load(str(layer, ".bias")));
  if (const float scale = known(layer).scale; scale != 1) tensors.emplace("scale", at::full({1}, scale));
  return tensors;
}

QuantizedWeight GgufLayers::unpack(std::string_view layer) const {
  const Known& own = known(layer);
  const TensorType type = own.type;
  const float factor = own.scale;
  const LinearSpec& spec = layers_[own.index];
  const int64_t rows = spec.out_features, columns = spec.in_features;
  const CodeLayout layout = code_layout(type);
  const int64_t groups = columns / layout.group_size;
  const at::Tensor blocks = weights_.load(str(layer, kDotWeight));
  QuantizedWeight weight;
  weight.codes = at::empty({rows, columns}, at::kByte);
  weight.scale = at::empty({rows, groups}, at::kFloat);
  if (layout.has_offsets) weight.offset = at::empty({rows, groups}, at::kFloat);
  auto* codes = weight.codes.mutable_data_ptr<uint8_t>();
  auto* scales = weight.scale.mutable_data_ptr<float>();
  auto* offsets = layout.has_offsets ? weight.offset.mutable_data_ptr<float>() : nullptr;
  const auto* from = static_cast<const std::byte*>(blocks.const_data_ptr());
  at::parallel_for(0, rows, std::max<int64_t>(1, kGrain / columns), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
      decode(type, from + row * blocks.size(1), columns, codes + row * columns, scales + row * groups,
             offsets == nullptr ? nullptr : offsets + row * groups);
  });
  if (factor != 1) weight.scale.mul_(factor);
  if (factor != 1 && weight.offset.defined()) weight.offset.mul_(factor);
  return weight;
}

}  // namespace arkit::gguf
