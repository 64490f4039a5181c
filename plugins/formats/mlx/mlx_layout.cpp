#include "mlx_layout.h"

#include <utility>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/sdk/int_format.h>
#include <arkit/sdk/row_layouts.h>
#include <arkit/str.h>

namespace arkit::mlx {
namespace {

bool mlx_bits(int64_t bits) {
  return bits >= 2 && bits <= 8 && bits != 7;
}

bool mlx_group(int64_t group) {
  return group == 32 || group == 64 || group == 128;
}

const at::Tensor& member(const TensorMap& packed, std::string_view suffix) {
  const auto found = packed.find(suffix);
  ARKIT_CHECK(found != packed.end(), str("packed layer has no '", suffix, "'"));
  return found->second;
}

// What is added to scale * code: what another mlx file stored, else -scale * zero point.
at::Tensor offset_of(const QuantizedWeight& weight, const at::Tensor& steps, const TensorQuant& quant) {
  if (weight.offset.defined()) return weight.offset;
  if (weight.zero_point.defined()) return steps.mul(weight.zero_point).neg();
  return steps.mul(-double(1 << (quant.bits - 1)));
}

}  // namespace

Verdict supports_layer(const LayerPlan& layer) {
  if (Verdict verdict = sdk::supports_int_weight(layer, "mlx"); !verdict) return verdict;
  const TensorQuant& weight = layer.quant.weight;
  if (!mlx_bits(weight.bits))
    return Verdict::no(str("mlx kernels know 2, 3, 4, 5, 6 and 8 bits, not ", weight.bits, "; choose 6 or 8"));
  if (!mlx_group(weight.group_size))
    return Verdict::no(str("mlx kernels know groups of 32, 64 and 128, not group_size ", weight.group_size));
  if (layer.in_features % weight.group_size != 0)
    return Verdict::no(str("in_features ", layer.in_features, " is not divisible by group_size ", weight.group_size,
                           ", which mlx needs; choose 64 or 32, or keep the layer in 16 bits"));
  return Verdict::yes();
}

std::vector<sdk::PackedTensorShape> shapes_of(const LayerPlan& layer) {
  const TensorQuant& weight = layer.quant.weight;
  const int64_t out = layer.out_features, groups = layer.in_features / weight.group_size;
  return {{"weight", at::kUInt32, {out, sdk::row_words(layer.in_features, weight.bits)}},
          {"scales", at::kHalf, {out, groups}},
          {"biases", at::kHalf, {out, groups}}};
}

TensorMap pack_layer(const QuantizedWeight& weight, const TensorQuant& quant) {
  TensorMap packed;
  packed["weight"] = sdk::pack_rows(weight.codes, quant.bits).view(at::kUInt32);
  const at::Tensor scales = weight.scale.to(at::kHalf).contiguous();
  packed["scales"] = scales;
  packed["biases"] = offset_of(weight, scales.to(at::kFloat), quant).to(at::kHalf);
  return packed;
}

LinearSpec checked_spec(const sdk::LayerTensors& tensors, const TensorQuant& quant) {
  const TensorInfo& weight = tensors.matrix("weight", {at::kUInt32});
  const int64_t code_bits = checked_mul(weight.shape[1], 32, "weight");
  if (code_bits % quant.bits != 0) tensors.fail(arkit::str("'weight' does not hold whole ", quant.bits, "-bit codes"));
  LinearSpec spec{.name = tensors.layer(), .packing = "mlx"};
  spec.quant.weight = quant;
  spec.out_features = weight.shape[0];
  spec.in_features = code_bits / quant.bits;
  if (spec.in_features % quant.group_size != 0)
    tensors.fail(arkit::str("'weight' does not hold whole groups of ", quant.group_size));
  for (const char* suffix : {"scales", "biases"})
    tensors.expect(suffix, {at::kHalf, at::kBFloat16, at::kFloat},
                   {spec.out_features, spec.in_features / quant.group_size});
  spec.has_bias = tensors.has_bias(spec.out_features);
  return spec;
}

QuantizedWeight decode_layer(const TensorMap& packed, const TensorQuant& quant, int64_t in) {
  QuantizedWeight weight;
  weight.codes = sdk::decode_rows(member(packed, "weight").contiguous(), in, quant.bits);
  weight.scale = member(packed, "scales").contiguous();
  const at::Tensor& biases = member(packed, "biases");
  const at::Tensor steps = weight.scale.to(at::kFloat), shift = biases.to(at::kFloat);
  const at::Tensor exact = at::where(steps.eq(0), at::zeros_like(steps), shift.neg().div(steps));
  const at::Tensor whole = exact.round();
  const at::Tensor is_whole = steps.mul(whole).neg().to(biases.scalar_type()).eq(biases);
  const at::Tensor zero_point = at::where(is_whole, whole, exact);
  const bool implied = zero_point.eq(double(1 << (quant.bits - 1))).all().item<bool>();
  if (!implied) weight.zero_point = zero_point;
  if (!steps.mul(zero_point).neg().equal(shift)) weight.offset = shift;
  return weight;
}

}  // namespace arkit::mlx
