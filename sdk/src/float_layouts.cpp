#include <arkit/sdk/float_layouts.h>

#include <algorithm>
#include <utility>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <arkit/error.h>
#include <arkit/sdk/bit_pack.h>
#include <arkit/sdk/element_grid.h>
#include <arkit/sdk/group.h>
#include <arkit/str.h>

namespace arkit::sdk {
namespace {

constexpr double kE4m3Max = 448.0;
constexpr double kFp8ScaleFloor = 1.0 / (448.0 * 512.0);
constexpr double kMostGlobal = 0x1p120;  // finite for the least inputs, and so is its reciprocal
constexpr double kNvRange = 2688.0;      // 448 * 6: global scale times largest magnitude
constexpr int64_t kMxGroup = 32, kNvGroup = 16;
constexpr int64_t kGrain = 64;
constexpr at::ScalarType kE8m0 = at::ScalarType::Float8_e8m0fnu;

bool is_nibbles(FloatLayout layout) {
  return layout != FloatLayout::mxfp8 && layout != FloatLayout::fp8;
}

int64_t group_of(FloatLayout layout) {
  return layout == FloatLayout::nvfp4 || layout == FloatLayout::nvfp4_e5m3 ? kNvGroup : kMxGroup;
}

bool has_input_scale(const LayerQuant& quant) {
  return quant.act.quantized() && !quant.act.dynamic;
}

bool has_input_global_scale(const LayerQuant& quant) {
  return quant.act.quantized() && quant.act.data_type == "nv_fp4_with_static_gs";
}

int64_t blocks(int64_t size, int64_t block) {
  return (size + block - 1) / block;
}

std::string_view scale_suffix(const TensorQuant& weight, const Fp8Layout& fp8) {
  return weight.block_rows > 0 ? fp8.block_scale : "weight_scale";
}

at::ScalarType fp8_scale_dtype(const LayerQuant& quant, const Fp8Layout& fp8) {
  if (fp8.scale_dtype) return *fp8.scale_dtype;
  return fp8.f32_weight_only && !quant.act.quantized() ? at::kFloat : at::kBFloat16;
}

// The shape a scheme gives an fp8 scale.
std::vector<int64_t> fp8_scale_shape(const TensorQuant& weight, int64_t out, int64_t in) {
  if (weight.block_rows > 0) return {blocks(out, weight.block_rows), blocks(in, weight.group_size)};
  if (weight.group_size == 0) return {1};
  return {out, group_shape(out, in, weight.group_size).per_row};
}

std::vector<int64_t> stored_fp8_scale_shape(const TensorQuant& weight, int64_t out, int64_t in, const Fp8Layout& fp8) {
  std::vector<int64_t> shape = fp8_scale_shape(weight, out, in);
  if (fp8.flat && weight.block_rows == 0 && shape.size() == 2) shape = {shape[0] * shape[1]};
  return shape;
}

at::Tensor pack_nibbles(const at::Tensor& codes) {
  ARKIT_CHECK(codes.dim() == 2 && codes.scalar_type() == at::kByte && codes.is_contiguous() && codes.size(1) % 8 == 0,
              "codes must be a contiguous u8 matrix [out, in] with in % 8 == 0");
  const int64_t rows = codes.size(0), in = codes.size(1);
  at::Tensor packed = at::empty({rows, in / 2}, at::kByte);
  const auto* source = codes.const_data_ptr<uint8_t>();
  auto* target = packed.mutable_data_ptr<uint8_t>();
  at::parallel_for(0, rows, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) pack_row(source + r * in, in, 4, target + r * in / 2);
  });
  return packed;
}

at::Tensor decode_nibbles(const at::Tensor& packed) {
  const at::Tensor low = packed.bitwise_and(0x0F), high = packed.bitwise_right_shift(4);
  return at::stack({low, high}, -1).reshape({packed.size(0), packed.size(1) * 2});
}

at::Tensor act_max_of(const LayerRecord& layer) {
  ARKIT_CHECK(layer.act_max.defined(),
              str("layer '", layer.plan.name, "' has static activations but no calibrated maximum"));
  return layer.act_max.detach().to(at::kFloat).reshape({-1}).amax().reshape({1});
}

const at::Tensor& member(const TensorMap& packed, std::string_view suffix) {
  const auto found = packed.find(suffix);
  ARKIT_CHECK(found != packed.end(), str("packed layer has no '", suffix, "'"));
  return found->second;
}

at::ScalarType micro_scale_dtype(FloatLayout layout) {
  return layout == FloatLayout::nvfp4 ? at::kFloat8_e4m3fn : at::kByte;
}

bool is_power_of_two(FloatLayout layout) {
  return layout == FloatLayout::mxfp4 || layout == FloatLayout::mxfp8 || layout == FloatLayout::mxint4;
}

// Scales as real numbers: powers of two may be stored by their exponents (DeepSeek-V3.1's "ue8m0").
at::Tensor real_scale(const at::Tensor& scale) {
  if (scale.scalar_type() != kE8m0) return scale;
  const at::Tensor bytes = scale.contiguous().view(at::kByte);
  at::Tensor real = at::empty(scale.sizes(), at::kFloat);
  const auto* from = bytes.const_data_ptr<uint8_t>();
  std::transform(from, from + bytes.numel(), real.mutable_data_ptr<float>(),
                 [](uint8_t byte) { return e8m0_to_float(byte); });
  return real;
}

void pack_fp8(TensorMap& packed, const LayerRecord& layer, const Fp8Layout& fp8) {
  const LayerQuant& quant = layer.plan.quant;
  const auto shape = stored_fp8_scale_shape(quant.weight, layer.plan.out_features, layer.plan.in_features, fp8);
  packed[std::string(scale_suffix(quant.weight, fp8))] =
      layer.quantized.scale.to(fp8_scale_dtype(quant, fp8)).reshape(shape).contiguous();
  packed["weight"] = layer.quantized.codes.contiguous();
}

}  // namespace

std::optional<FloatLayout> float_layout_of(const TensorQuant& weight) {
  if (weight.data_type == "mx_fp" && weight.bits == 4) return FloatLayout::mxfp4;
  if (weight.data_type == "mx_fp" && weight.bits == 8) return FloatLayout::mxfp8;
  if (weight.data_type == "mx_int" && weight.bits == 4) return FloatLayout::mxint4;
  if (weight.data_type == "nv_fp" && weight.bits == 4) return FloatLayout::nvfp4;
  if (weight.data_type == "nvfp4_v2" && weight.bits == 4) return FloatLayout::nvfp4_e5m3;
  if (weight.data_type == "fp" && weight.bits == 8) return FloatLayout::fp8;
  return std::nullopt;
}

Verdict supports_float_weight(const LayerPlan& layer, std::string_view format) {
  const TensorQuant& weight = layer.quant.weight;
  const auto layout = float_layout_of(weight);
  if (!layout)
    return Verdict::no(str(weight.bits, "-bit '", weight.data_type, "' weights have no layout in ", format,
                           weight.bits == 6 ? "; choose MXFP4 or MXFP8, or --format fake" : "; use --format fake"));
  if (!layer.quant.rotation.empty())
    return Verdict::no(str("rotation '", layer.quant.rotation, "' cannot be recorded in ", format));
  if (*layout == FloatLayout::fp8) {
    if (weight.group_size > 0 && weight.block_rows == 0 && layer.in_features % weight.group_size != 0)
      return Verdict::no(str("in_features ", layer.in_features, " is not divisible by group_size ", weight.group_size,
                             "; choose -1, 0 or 128"));
    return Verdict::yes();
  }
  const int64_t group = group_of(*layout);
  if (weight.group_size != group || weight.block_rows > 0)
    return Verdict::no(str("group_size ", weight.group_size, " has no layout in ", format, " for '", weight.data_type,
                           "' weights; leave it at ", group));
  if (layer.in_features % group != 0)
    return Verdict::no(str("in_features ", layer.in_features, " is not divisible by group_size ", group,
                           "; keep the layer in 16 bits (--ignore_layers)"));
  return Verdict::yes();
}

std::vector<PackedTensorShape> float_shapes(const LayerPlan& layer, const Fp8Layout& fp8) {
  const FloatLayout layout = float_layout_of(layer.quant.weight).value();
  const int64_t out = layer.out_features, in = layer.in_features;
  std::vector<PackedTensorShape> shapes;
  if (is_nibbles(layout))
    shapes.push_back({"weight_packed", at::kByte, {out, in / 2}});
  else
    shapes.push_back({"weight", at::kFloat8_e4m3fn, {out, in}});
  if (layout == FloatLayout::fp8)
    shapes.push_back({std::string(scale_suffix(layer.quant.weight, fp8)), fp8_scale_dtype(layer.quant, fp8),
                      stored_fp8_scale_shape(layer.quant.weight, out, in, fp8)});
  else
    shapes.push_back({"weight_scale", micro_scale_dtype(layout), {out, in / group_of(layout)}});
  if (layout == FloatLayout::nvfp4) shapes.push_back({"weight_global_scale", at::kFloat, {1}});
  if (layout == FloatLayout::nvfp4 && has_input_global_scale(layer.quant))
    shapes.push_back({"input_global_scale", at::kFloat, {1}});
  if (layout == FloatLayout::fp8 && has_input_scale(layer.quant))
    shapes.push_back({"input_scale", fp8.scale_dtype.value_or(at::kBFloat16), {1}});
  return shapes;
}

at::Tensor input_global_scale(const at::Tensor& act_max) {
  const at::Tensor peak = act_max.detach().to(at::kFloat).reshape({-1}).amax().reshape({1});
  const at::Tensor global = peak.reciprocal().mul_(kNvRange).clamp_max_(kMostGlobal);
  return global.masked_fill(peak == 0, 1.0);
}

TensorMap pack_float(const LayerRecord& layer, const Fp8Layout& fp8) {
  const LayerQuant& quant = layer.plan.quant;
  const QuantizedWeight& weight = layer.quantized;
  const FloatLayout layout = float_layout_of(quant.weight).value();
  TensorMap packed;
  if (layout == FloatLayout::fp8) {
    pack_fp8(packed, layer, fp8);
    if (has_input_scale(quant))
      packed["input_scale"] =
          act_max_of(layer).div(kE4m3Max).clamp_min(kFp8ScaleFloor).to(fp8.scale_dtype.value_or(at::kBFloat16));
    return packed;
  }
  if (is_nibbles(layout))
    packed["weight_packed"] = pack_nibbles(weight.codes.contiguous());
  else
    packed["weight"] = weight.codes.contiguous();
  packed["weight_scale"] = weight.scale.contiguous();
  if (layout != FloatLayout::nvfp4) return packed;
  packed["weight_global_scale"] = weight.global_scale.to(at::kFloat).reshape({1});
  if (has_input_global_scale(quant)) {
    at::Tensor global = input_global_scale(act_max_of(layer));
    if (fp8.scale_dtype) global = global.to(*fp8.scale_dtype).to(at::kFloat);
    packed["input_global_scale"] = global;
  }
  return packed;
}

std::vector<std::string_view> float_suffixes() {
  return {"weight_packed",       "weight",      "weight_scale",      "weight_scale_inv",
          "weight_global_scale", "input_scale", "input_global_scale"};
}

LinearSpec checked_float_spec(const LayerTensors& tensors, std::string packing, LayerQuant quant,
                              const Fp8Layout& fp8) {
  const auto layout = float_layout_of(quant.weight);
  if (!layout) tensors.fail(arkit::str("its config says ", quant.weight.bits, "-bit '", quant.weight.data_type, "'"));
  LinearSpec spec{.name = tensors.layer(), .packing = std::move(packing), .quant = std::move(quant)};
  const TensorInfo& weight = is_nibbles(*layout) ? tensors.matrix("weight_packed", {at::kByte})
                                                 : tensors.matrix("weight", {at::kFloat8_e4m3fn});
  spec.out_features = weight.shape[0];
  spec.in_features = is_nibbles(*layout) ? checked_mul(weight.shape[1], 2, "weight_packed") : weight.shape[1];
  if (*layout == FloatLayout::fp8) {
    const TensorQuant& q = spec.quant.weight;
    const std::string_view suffix = scale_suffix(q, fp8);
    const TensorInfo& scale = tensors.get(suffix);
    const int64_t expected = c10::multiply_integers(fp8_scale_shape(q, spec.out_features, spec.in_features));
    if (scale.numel() != expected || (q.block_rows > 0 && scale.shape.size() != 2))
      tensors.fail(arkit::str("'", suffix, "' is ", at::IntArrayRef(scale.shape), ", expected ", expected, " scales"));
    tensors.expect(suffix, {at::kBFloat16, at::kFloat, at::kHalf, kE8m0}, scale.shape);
    if (tensors.find("input_scale") != nullptr && tensors.get("input_scale").numel() != 1)
      tensors.fail("'input_scale' is not a single number");
  } else {
    const int64_t group = group_of(*layout);
    if (spec.in_features % group != 0 || spec.quant.weight.group_size != group)
      tensors.fail(arkit::str("its config says groups of ", spec.quant.weight.group_size, " for ", spec.in_features,
                              " inputs, expected whole groups of ", group));
    std::initializer_list<at::ScalarType> powers = {at::kByte, kE8m0}, floats = {micro_scale_dtype(*layout)};
    tensors.expect("weight_scale", is_power_of_two(*layout) ? powers : floats,
                   {spec.out_features, spec.in_features / group});
    for (const std::string_view suffix : {"weight_global_scale", "input_global_scale"})
      if (*layout == FloatLayout::nvfp4 && (tensors.find(suffix) != nullptr || suffix == "weight_global_scale"))
        tensors.expect(suffix, {at::kFloat}, {1});
  }
  spec.has_bias = tensors.has_bias(spec.out_features);
  return spec;
}

QuantizedWeight decode_float(const LayerQuant& quant, int64_t out, int64_t in, const TensorMap& packed) {
  const FloatLayout layout = float_layout_of(quant.weight).value();
  QuantizedWeight weight;
  weight.codes = is_nibbles(layout) ? decode_nibbles(member(packed, "weight_packed")) : member(packed, "weight");
  ARKIT_CHECK(weight.codes.size(0) == out && weight.codes.size(1) == in, "weight does not belong to this layer");
  if (layout == FloatLayout::fp8) {
    const auto inverse = packed.find("weight_scale_inv");
    const at::Tensor& scale = inverse != packed.end() ? inverse->second : member(packed, "weight_scale");
    weight.scale = real_scale(scale).reshape(fp8_scale_shape(quant.weight, out, in)).contiguous();
    if (const auto input = packed.find("input_scale"); input != packed.end())
      weight.act_max = input->second.to(at::kFloat).reshape({1}).mul(kE4m3Max);
    return weight;
  }
  weight.scale = member(packed, "weight_scale").contiguous();
  if (weight.scale.scalar_type() == kE8m0) weight.scale = weight.scale.view(at::kByte);
  if (layout != FloatLayout::nvfp4) return weight;
  weight.global_scale = member(packed, "weight_global_scale").reshape({1});
  if (const auto input = packed.find("input_global_scale"); input != packed.end())
    weight.act_max = input->second.to(at::kFloat).reshape({1}).reciprocal().mul(kNvRange);
  return weight;
}

}  // namespace arkit::sdk
