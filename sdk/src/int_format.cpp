#include <arkit/sdk/int_format.h>

#include <arkit/sdk/group.h>
#include <arkit/sdk/safetensors_layout.h>
#include <arkit/str.h>

namespace arkit::sdk {
namespace {

constexpr int64_t kBlock = 32;  // codes that fill whole words for every number of bits

std::vector<PackedTensorShape> int_shapes(const LayerPlan& layer, std::vector<int64_t> qweight) {
  const GroupShape groups = group_shape(layer.out_features, layer.in_features, layer.quant.weight.group_size);
  const int64_t zero_words = layer.out_features * layer.quant.weight.bits / 32;
  return {{"qweight", at::ScalarType::Int, std::move(qweight)},
          {"qzeros", at::ScalarType::Int, {groups.per_row, zero_words}},
          {"scales", at::ScalarType::Half, {groups.per_row, layer.out_features}}};
}

}  // namespace

Verdict refuses_tables(const LayerPlan& layer, std::string_view format) {
  if (layer.kind != LayerKind::embedding) return Verdict::yes();
  return Verdict::no(str("no loader of ", format, " looks up packed embeddings; use --format llm_compressor"));
}

Verdict supports_int_weight(const LayerPlan& layer, std::string_view format) {
  const TensorQuant& weight = layer.quant.weight;
  if (weight.data_type != "int")
    return Verdict::no(str("data_type '", weight.data_type, "' has no layout in ", format,
                           "; it stores 'int' weights, use a W2A16 to W8A16 scheme or another --format"));
  if (Verdict table = refuses_tables(layer, format); !table) return table;
  if (layer.quant.act.quantized())
    return Verdict::no(str("activations of ", layer.quant.act.bits, " bits cannot be recorded in ", format,
                           " with integer weights; use --format fake or llm_compressor, or keep act_bits 16"));
  if (weight.super_bits > 0)
    return Verdict::no(str("double quantization (super_bits ", weight.super_bits, ") cannot be recorded in ", format,
                           "; use --format gguf"));
  if (weight.block_rows > 0 || weight.group_size == 0 || weight.group_size < -1)
    return Verdict::no(str(format, " stores groups along in_features; choose group_size 32, 64, 128 or -1"));
  if (!layer.quant.rotation.empty())
    return Verdict::no(str("rotation '", layer.quant.rotation, "' cannot be recorded in ", format));
  return Verdict::yes();
}

Verdict supports_gptq_shape(const LayerPlan& layer) {
  if (layer.out_features % kBlock != 0 || layer.in_features % kBlock != 0)
    return Verdict::no(str("shape [", layer.out_features, ", ", layer.in_features, "] is not a multiple of ", kBlock,
                           " on both sides; keep the layer in 16 bits (--ignore_layers)"));
  return Verdict::yes();
}

Verdict supports_awq_shape(const LayerPlan& layer) {
  const TensorQuant& weight = layer.quant.weight;
  const int64_t fill = 32 % weight.bits == 0 ? 32 / weight.bits : kBlock;
  if (layer.out_features % fill != 0)
    return Verdict::no(str("out_features ", layer.out_features, " is not a multiple of ", fill,
                           ", which the AWQ layout of ", weight.bits,
                           "-bit codes needs; use auto_gptq or keep the layer in 16 bits"));
  if (weight.group_size > 0 && weight.group_size < layer.in_features && layer.in_features % weight.group_size != 0)
    return Verdict::no(str("in_features ", layer.in_features, " is not divisible by group_size ", weight.group_size,
                           ", which the AWQ layout needs; choose 128, 64 or 32"));
  return Verdict::yes();
}

std::vector<PackedTensorShape> gptq_shapes(const LayerPlan& layer, bool g_idx) {
  std::vector<PackedTensorShape> shapes =
      int_shapes(layer, {layer.in_features / kBlock * layer.quant.weight.bits, layer.out_features});
  if (g_idx) shapes.push_back({"g_idx", at::ScalarType::Int, {layer.in_features}});
  return shapes;
}

std::vector<PackedTensorShape> awq_shapes(const LayerPlan& layer) {
  return int_shapes(layer, {layer.in_features, layer.out_features * layer.quant.weight.bits / 32});
}

int64_t packed_layer_bytes(const LayerPlan& layer, const std::vector<PackedTensorShape>& shapes) {
  int64_t bytes = layer.has_bias ? 2 * layer.out_features : 0;
  for (const PackedTensorShape& tensor : shapes) bytes += tensor_bytes(tensor.shape, tensor.dtype, layer.name);
  return bytes;
}

}  // namespace arkit::sdk
