#include "layouts.h"

#include <algorithm>
#include <array>
#include <utility>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/sdk/float_layouts.h>
#include <arkit/sdk/group.h>
#include <arkit/sdk/group_index.h>
#include <arkit/sdk/observer.h>
#include <arkit/sdk/row_layouts.h>
#include <arkit/str.h>

namespace arkit::llm_compressor {
namespace {

using Named = std::pair<std::string_view, Layout>;

constexpr std::array kNames = {
    Named{"pack-quantized", Layout::pack_quantized},   Named{"int-quantized", Layout::int_quantized},
    Named{"naive-quantized", Layout::naive_quantized}, Named{"float-quantized", Layout::float_quantized},
    Named{"nvfp4-pack-quantized", Layout::nvfp4},      Named{"nvfp4-e5m3-pack-quantized", Layout::nvfp4_e5m3},
    Named{"mxfp4-pack-quantized", Layout::mxfp4},      Named{"mxfp8-quantized", Layout::mxfp8},
};

constexpr double kHalfLevels8 = 127.5;  // docs/spec/observers.md 2: range / 2 of 8 bits

constexpr sdk::Fp8Layout kFp8{.block_scale = "weight_scale", .flat = false, .f32_weight_only = true};
constexpr std::initializer_list<at::ScalarType> kScaleTypes = {at::kHalf, at::kBFloat16, at::kFloat};

// dtype of the scales of integers, in llm-compressor's dialect of 8-bit floats too.
at::ScalarType scale_dtype(const LayerPlan& layer, const Dialect& dialect) {
  if (dialect.llm_compressor && !sdk::is_range_observer(layer.quant.weight)) return dialect.dtype;
  return sdk::arithmetic_dtype(layer.quant.weight);
}

sdk::Fp8Layout fp8_layout(const LayerPlan& layer, const Dialect& dialect) {
  sdk::Fp8Layout layout = kFp8;
  if (dialect.llm_compressor) layout.scale_dtype = scale_dtype(layer, dialect);
  return layout;
}

bool has_input_scale(const LayerQuant& quant) {
  return quant.act.quantized() && !quant.act.dynamic;
}

bool is_int(const LayerQuant& quant) {
  return quant.weight.data_type == "int";
}

int64_t zero_words(int64_t out, int bits) {
  return sdk::row_words(out, bits);
}

Verdict supports_int_act(const LayerQuant& quant) {
  const TensorQuant& w = quant.weight;
  const TensorQuant& a = quant.act;
  const bool w8a8 = w.bits == 8 && w.sym && w.group_size == -1 && a.bits == 8 && a.sym && a.data_type == "int" &&
                    a.group_size == -1 && a.dynamic;
  if (w8a8) return Verdict::yes();
  return Verdict::no(
      str("compressed-tensors stores integer activations for W8A8 with symmetric weights per channel and "
          "dynamic symmetric activations per token only, not W",
          w.bits, "A", a.bits, "; use INT8_W8A8, a weight-only scheme, or --format fake"));
}

// llm-compressor stores integers beside any activations as one byte a code; only their scales are restricted.
Verdict supports_any_act(const LayerQuant& quant) {
  if (!quant.act.dynamic && (quant.act.group_size != 0 || !quant.act.sym))
    return Verdict::no("static input scales are one symmetric scale a layer; set act_group_size 0, or act_dynamic");
  return Verdict::yes();
}

Verdict supports_int(const LayerPlan& layer, const Dialect& dialect) {
  const TensorQuant& w = layer.quant.weight;
  if (w.bits < 2 || w.bits > 8) return Verdict::no(str("pack-quantized holds 2 to 8 bits, not ", w.bits));
  if (w.super_bits > 0)
    return Verdict::no(str("double quantization (super_bits ", w.super_bits,
                           ") cannot be recorded in llm_compressor; use --format gguf"));
  if (w.block_rows > 0 || w.group_size == 0 || w.group_size < -1)
    return Verdict::no("llm_compressor stores integer groups along in_features; choose group_size 32, 64, 128 or -1");
  if (layer.quant.act.quantized() && !dialect.llm_compressor) return supports_int_act(layer.quant);
  if (layer.quant.act.quantized())
    if (Verdict act = supports_any_act(layer.quant); !act) return act;
  if (w.group_size > 0 && w.group_size < layer.in_features && layer.in_features % w.group_size != 0)
    return Verdict::no(str("in_features ", layer.in_features, " is not divisible by group_size ", w.group_size,
                           ", which compressed-tensors needs; choose 128, 64 or 32"));
  return Verdict::yes();
}

TensorMap pack_int(const LayerRecord& layer, const Dialect& dialect) {
  const QuantizedWeight& weight = layer.quantized;
  const int bits = layer.plan.quant.weight.bits;
  TensorMap packed;
  packed["weight_packed"] = sdk::pack_rows(weight.codes, bits);
  packed["weight_scale"] = weight.scale.to(scale_dtype(layer.plan, dialect)).contiguous();
  packed["weight_shape"] = at::tensor({layer.plan.out_features, layer.plan.in_features}, at::kLong);
  if (weight.zero_point.defined())
    packed["weight_zero_point"] =
        sdk::pack_rows(weight.zero_point.to(at::kByte).t().contiguous(), bits).t().contiguous();
  return packed;
}

// What the scale of a static input is multiplied by to give its largest magnitude.
double largest_input(const TensorQuant& act) {
  return act.data_type == "int" ? kHalfLevels8 / 255 * ((1 << act.bits) - 1) : 448.0;
}

// One code a byte, in two's complement: the code less half its range.
TensorMap pack_int8(const LayerRecord& layer, const Dialect& dialect) {
  const LayerQuant& quant = layer.plan.quant;
  const int offset = 1 << (quant.weight.bits - 1);
  const at::ScalarType dtype = scale_dtype(layer.plan, dialect);
  TensorMap packed;
  packed["weight"] = layer.quantized.codes.to(at::kChar).sub_(offset);
  packed["weight_scale"] = layer.quantized.scale.to(dtype).contiguous();
  if (layer.quantized.zero_point.defined())
    packed["weight_zero_point"] = layer.quantized.zero_point.sub(offset).to(at::kChar);
  if (!has_input_scale(quant)) return packed;
  ARKIT_CHECK(layer.act_max.defined(), str("layer '", layer.plan.name, "' has static activations but no maximum"));
  const at::Tensor act_max = layer.act_max.detach().to(at::kFloat).reshape({-1}).amax().reshape({1});
  packed["input_scale"] = act_max.div(largest_input(quant.act)).clamp_min(0x1p-23).to(dtype);
  return packed;
}

const at::Tensor& member(const TensorMap& packed, std::string_view suffix) {
  const auto found = packed.find(suffix);
  ARKIT_CHECK(found != packed.end(), str("packed layer has no '", suffix, "'"));
  return found->second;
}

constexpr const char* kStoredIndex = "weight_g_idx";

QuantizedWeight decode_packed_int(const TensorQuant& quant, int64_t out, int64_t in, const TensorMap& packed) {
  QuantizedWeight weight;
  if (const auto stored = packed.find(kStoredIndex); stored != packed.end()) {
    const sdk::GroupShape shape = sdk::group_shape(out, in, quant.group_size);
    const at::Tensor index = sdk::scattered_index(stored->second, shape, false, "with weight_g_idx");
    if (index.defined()) weight.group_index = index;
  }
  weight.codes = sdk::decode_rows(member(packed, "weight_packed").contiguous(), in, quant.bits);
  weight.scale = member(packed, "weight_scale").contiguous();
  if (const auto zeros = packed.find("weight_zero_point"); zeros != packed.end() && !quant.sym)
    weight.zero_point =
        sdk::decode_rows(zeros->second.t().contiguous(), out, quant.bits).t().to(at::kFloat).contiguous();
  return weight;
}

QuantizedWeight decode_int8(const LayerQuant& quant, int64_t out, int64_t in, const TensorMap& packed) {
  QuantizedWeight weight;
  const int offset = 1 << (quant.weight.bits - 1);
  weight.codes = member(packed, "weight").to(at::kShort).add_(offset).clamp_(0, 2 * offset - 1).to(at::kByte);
  const sdk::GroupShape groups = sdk::group_shape(out, in, quant.weight.group_size);
  weight.scale = member(packed, "weight_scale").reshape({out, groups.per_row}).contiguous();
  if (const auto zeros = packed.find("weight_zero_point"); zeros != packed.end() && !quant.weight.sym)
    weight.zero_point = zeros->second.to(at::kFloat).add_(offset).reshape({out, groups.per_row}).contiguous();
  if (const auto input = packed.find("input_scale"); input != packed.end())
    weight.act_max = input->second.to(at::kFloat).reshape({1}).mul(largest_input(quant.act));
  return weight;
}

// weight_shape is the one tensor that says how many codes of a row are real.
void check_packed_int(const sdk::LayerTensors& tensors, LinearSpec& spec) {
  const TensorQuant& quant = spec.quant.weight;
  if (quant.bits < 2 || quant.bits > 8)
    tensors.fail(arkit::str("its config says ", quant.bits, " bits, expected 2 to 8"));
  const TensorInfo& words = tensors.matrix("weight_packed", {at::kInt});
  tensors.expect("weight_shape", {at::kLong, at::kInt}, {2});
  const at::Tensor shape = tensors.load("weight_shape").to(at::kLong);
  spec.out_features = shape[0].item<int64_t>();
  spec.in_features = shape[1].item<int64_t>();
  if (spec.out_features != words.shape[0] || spec.in_features < 1 ||
      sdk::row_words(spec.in_features, quant.bits) != words.shape[1])
    tensors.fail(arkit::str("'weight_packed' is ", at::IntArrayRef(words.shape), ", which does not hold the ",
                            quant.bits, "-bit codes of [", spec.out_features, ", ", spec.in_features, "]"));
  const sdk::GroupShape groups = sdk::group_shape(spec.out_features, spec.in_features, quant.group_size);
  tensors.expect("weight_scale", kScaleTypes, {spec.out_features, groups.per_row});
  if (!quant.sym)
    tensors.expect("weight_zero_point", {at::kInt}, {zero_words(spec.out_features, quant.bits), groups.per_row});
  if (tensors.find(kStoredIndex) == nullptr) return;
  tensors.expect(kStoredIndex, {at::kInt, at::kLong}, {spec.in_features});
  if (sdk::scattered_index(tensors.load(kStoredIndex), groups, false, spec.name).defined())
    spec.packing += sdk::kActOrder;
}

void check_int8(const sdk::LayerTensors& tensors, LinearSpec& spec) {
  const TensorQuant& quant = spec.quant.weight;
  if (quant.bits < 2 || quant.bits > 8)
    tensors.fail(arkit::str("its config says ", quant.bits, " bits, expected 2 to 8"));
  const TensorInfo& weight = tensors.matrix("weight", {at::kChar});
  spec.out_features = weight.shape[0];
  spec.in_features = weight.shape[1];
  if (quant.group_size == 0) tensors.fail("its config says one integer scale for the whole tensor");
  const sdk::GroupShape groups = sdk::group_shape(spec.out_features, spec.in_features, quant.group_size);
  tensors.expect("weight_scale", kScaleTypes, {spec.out_features, groups.per_row});
  if (!quant.sym) tensors.expect("weight_zero_point", {at::kChar}, {spec.out_features, groups.per_row});
  if (tensors.find("input_scale") != nullptr && tensors.get("input_scale").numel() != 1)
    tensors.fail("'input_scale' is not a single number");
}

}  // namespace

std::string_view layout_name(Layout layout) {
  const auto* found =
      std::find_if(kNames.begin(), kNames.end(), [&](const Named& entry) { return entry.second == layout; });
  return found->first;
}

std::optional<Layout> layout_from_name(std::string_view name) {
  const auto* found =
      std::find_if(kNames.begin(), kNames.end(), [&](const Named& entry) { return entry.first == name; });
  if (found == kNames.end()) return std::nullopt;
  return found->second;
}

std::optional<Layout> layout_of(const LayerQuant& quant) {
  const bool with_act = quant.act.quantized();
  if (is_int(quant)) return with_act ? Layout::int_quantized : Layout::pack_quantized;
  const auto layout = sdk::float_layout_of(quant.weight);
  if (!layout) return std::nullopt;
  switch (*layout) {
    case sdk::FloatLayout::mxfp4:
      return Layout::mxfp4;
    case sdk::FloatLayout::mxfp8:
      return Layout::mxfp8;
    case sdk::FloatLayout::nvfp4:
      return Layout::nvfp4;
    case sdk::FloatLayout::nvfp4_e5m3:
      return Layout::nvfp4_e5m3;
    case sdk::FloatLayout::fp8:
      return with_act ? Layout::float_quantized : Layout::naive_quantized;
    case sdk::FloatLayout::mxint4:
      return std::nullopt;
  }
  return std::nullopt;
}

Verdict supports_layer(const LayerPlan& layer, const Dialect& dialect) {
  const LayerQuant& quant = layer.quant;
  if (!quant.weight.quantized())
    return Verdict::no("activations without quantized weights cannot be recorded in llm_compressor");
  if (!quant.rotation.empty())
    return Verdict::no(str("rotation '", quant.rotation, "' cannot be recorded in llm_compressor"));
  if (is_int(quant)) return supports_int(layer, dialect);
  if (dialect.llm_compressor && quant.weight.data_type == "nvfp4_v2")
    return Verdict::no("NVFP4_E5M3 is AutoRound's own; llm-compressor knows NVFP4");
  if (quant.weight.data_type == "mx_int")
    return Verdict::no("compressed-tensors has no layout for MXINT4; use --format auto_round");
  return sdk::supports_float_weight(layer, "llm_compressor");
}

LayerQuant normalised(const LayerPlan& layer) {
  LayerQuant quant = layer.quant;
  if (is_int(quant) && quant.weight.group_size > layer.in_features) quant.weight.group_size = -1;
  return quant;
}

std::vector<sdk::PackedTensorShape> shapes_of(const LayerPlan& layer, const Dialect& dialect) {
  const Layout layout = layout_of(layer.quant).value();
  const TensorQuant& w = layer.quant.weight;
  const int64_t out = layer.out_features, in = layer.in_features;
  if (layout != Layout::pack_quantized && layout != Layout::int_quantized)
    return sdk::float_shapes(layer, fp8_layout(layer, dialect));
  const sdk::GroupShape groups = sdk::group_shape(out, in, w.group_size);
  const at::ScalarType dtype = scale_dtype(layer, dialect);
  if (layout == Layout::int_quantized) {
    std::vector<sdk::PackedTensorShape> bytes = {{"weight", at::kChar, {out, in}},
                                                 {"weight_scale", dtype, {out, groups.per_row}}};
    if (!w.sym) bytes.push_back({"weight_zero_point", at::kChar, {out, groups.per_row}});
    if (has_input_scale(layer.quant)) bytes.push_back({"input_scale", dtype, {1}});
    return bytes;
  }
  std::vector<sdk::PackedTensorShape> shapes = {{"weight_packed", at::kInt, {out, sdk::row_words(in, w.bits)}},
                                                {"weight_scale", dtype, {out, groups.per_row}},
                                                {"weight_shape", at::kLong, {2}}};
  if (!w.sym) shapes.push_back({"weight_zero_point", at::kInt, {zero_words(out, w.bits), groups.per_row}});
  return shapes;
}

TensorMap pack_layer(const LayerRecord& layer, const Dialect& dialect) {
  switch (layout_of(layer.plan.quant).value()) {
    case Layout::pack_quantized:
      return pack_int(layer, dialect);
    case Layout::int_quantized:
      return pack_int8(layer, dialect);
    default:
      return sdk::pack_float(layer, fp8_layout(layer.plan, dialect));
  }
}

std::vector<std::string_view> all_suffixes() {
  std::vector<std::string_view> suffixes = sdk::float_suffixes();
  suffixes.insert(suffixes.end(), {"weight_shape", "weight_zero_point", "weight_g_idx"});
  return suffixes;
}

LinearSpec checked_spec(const sdk::LayerTensors& tensors, Layout layout, LayerQuant quant) {
  if (!is_int(quant)) return sdk::checked_float_spec(tensors, std::string(layout_name(layout)), std::move(quant), kFp8);
  LinearSpec spec{.name = tensors.layer(), .packing = std::string(layout_name(layout)), .quant = std::move(quant)};
  if (layout == Layout::pack_quantized)
    check_packed_int(tensors, spec);
  else
    check_int8(tensors, spec);
  spec.has_bias = tensors.has_bias(spec.out_features);
  return spec;
}

QuantizedWeight decode_layer(const LayerQuant& quant, Layout layout, int64_t out, int64_t in, const TensorMap& packed) {
  if (layout == Layout::pack_quantized) return decode_packed_int(quant.weight, out, in, packed);
  if (is_int(quant)) return decode_int8(quant, out, in, packed);
  return sdk::decode_float(quant, out, in, packed);
}

}  // namespace arkit::llm_compressor
