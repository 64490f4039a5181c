// AutoRound's own format (quant_method "auto-round"); README.md draws the layouts.

#include <array>
#include <memory>
#include <string>

#include <arkit/error.h>
#include <arkit/exporter.h>
#include <arkit/plugin.h>
#include <arkit/sdk/float_layouts.h>
#include <arkit/sdk/hf_export.h>
#include <arkit/sdk/int_format.h>
#include <arkit/sdk/int_layouts.h>
#include <arkit/sdk/quant_config.h>
#include <arkit/str.h>

#include "auto_round_reader.h"
#include "packing.h"
#include "rotations.h"

namespace arkit::auto_round {
namespace {

constexpr std::string_view kFp8Variant = "auto_round:fp8";
constexpr std::array<std::string_view, 4> kVariants = {"auto_round:auto_gptq", "auto_round:gptqmodel",
                                                       "auto_round:auto_awq", kFp8Variant};
constexpr sdk::Fp8Layout kFp8{};

sdk::GptqLayout gptq_layout(Packing packing) {
  const auto zeros = packing == Packing::gptq ? sdk::ZeroConvention::minus_one : sdk::ZeroConvention::direct;
  return {.zeros = zeros, .g_idx = packing == Packing::gptqmodel};
}

std::vector<sdk::PackedTensorShape> shapes_of(const LayerPlan& layer, Packing packing) {
  if (!is_int(packing)) return sdk::float_shapes(layer, kFp8);
  return packing == Packing::awq ? sdk::awq_shapes(layer) : sdk::gptq_shapes(layer, packing == Packing::gptqmodel);
}

TensorMap pack_layer(const LayerRecord& layer, Packing packing) {
  const TensorQuant& quant = layer.plan.quant.weight;
  if (!is_int(packing)) return sdk::pack_float(layer, kFp8);
  if (packing == Packing::awq) return sdk::pack_awq(layer.quantized, quant);
  return sdk::pack_gptq(layer.quantized, quant, gptq_layout(packing));
}

bool is_fp8(Packing packing) {
  return packing == Packing::fp8_static || packing == Packing::fp8_block || packing == Packing::fp8_weights;
}

Verdict supports_float(const LayerPlan& layer, std::string_view variant) {
  const LayerQuant& quant = layer.quant;
  const auto packing = float_packing(quant);
  if (variant == kFp8Variant && packing != Packing::fp8_block)
    return Verdict::no(str("auto_round:fp8 stores FP8_BLOCK only; use --format auto_round"));
  if (packing_of_variant(variant))
    return Verdict::no(str("data_type '", quant.weight.data_type, "' has no layout in ", variant,
                           "; it stores 'int' weights, use --format auto_round or llm_compressor"));
  if (Verdict verdict = sdk::refuses_tables(layer, "auto_round"); !verdict) return verdict;
  if (Verdict verdict = sdk::supports_float_weight(layer, "auto_round"); !verdict) return verdict;
  if (!packing)
    return Verdict::no(
        "auto_round has no packing for fp8 activations with dynamic scales; use --format llm_compressor, "
        "or the scheme FP8_STATIC");
  return Verdict::yes();
}

Verdict supports_int(const LayerPlan& layer, std::string_view variant) {
  if (variant == kFp8Variant) return Verdict::no("auto_round:fp8 stores FP8_BLOCK only; use --format auto_round");
  if (Verdict verdict = sdk::supports_int_weight(layer, "auto_round"); !verdict) return verdict;
  const int bits = layer.quant.weight.bits;
  if (packing_of_variant(variant) == Packing::awq) {
    if (bits < 4 || bits > 7)
      return Verdict::no(str("the AWQ packing holds 4 to 7 bits, not ", bits, "; use --format auto_round"));
    return sdk::supports_awq_shape(layer);
  }
  if (bits < 2 || bits > 8) return Verdict::no(str("auto_round holds 2 to 8 bits, not ", bits));
  if (Verdict verdict = sdk::supports_w8_asym(layer); !verdict) return verdict;
  return sdk::supports_gptq_shape(layer);
}

class AutoRoundExporter final : public Exporter {
 public:
  [[nodiscard]] const ExporterInfo& info() const noexcept override {
    static constexpr ExporterInfo kInfo{.name = "auto_round",
                                        .summary = "AutoRound: 2 to 8 bit integers, MXFP, NVFP4, FP8",
                                        .quant_method = "auto-round",
                                        .attention_scales = true};
    return kInfo;
  }

  [[nodiscard]] std::span<const std::string_view> variants() const override { return kVariants; }

  [[nodiscard]] bool rounds_without_family(std::string_view, std::string_view) const override { return true; }

  [[nodiscard]] Verdict supports(const LayerPlan& layer, std::string_view variant) const override {
    LayerPlan still = layer;
    if (variant == info().name) still.quant.rotation.clear();  // recorded beside the layer
    return still.quant.weight.data_type == "int" ? supports_int(still, variant) : supports_float(still, variant);
  }

  // A file has one packing; what it says of single layers are numbers, not layouts.
  [[nodiscard]] Verdict supports_plan(const QuantPlan& plan, std::string_view variant) const override {
    if (variant != info().name)
      if (Verdict verdict = sdk::quantizes_something(plan, variant); !verdict) return verdict;
    const Packing packing = choose_packing(plan, variant);
    for (const LayerPlan& layer : plan.layers) {
      if (!layer.quantized()) continue;
      const bool is_integer = layer.quant.weight.data_type == "int";
      if (is_integer == is_int(packing) && (is_integer || float_packing(layer.quant) == packing)) continue;
      return Verdict::no(str("layer '", layer.name, "' is '", layer.quant.weight.data_type, "' of ",
                             layer.quant.weight.bits, " bits, which the packing of the other layers (",
                             packing_name(packing), ") cannot hold; use --format llm_compressor"));
    }
    return Verdict::yes();
  }

  [[nodiscard]] TensorMap pack(const LayerRecord& layer, const QuantPlan& plan,
                               std::string_view variant) const override {
    return pack_layer(layer, choose_packing(plan, variant));
  }

  [[nodiscard]] QuantizedWeight unpack(const LayerPlan& layer, const TensorMap& packed, const QuantPlan& plan,
                                       std::string_view variant) const override {
    const Packing packing = choose_packing(plan, variant);
    const TensorQuant& quant = layer.quant.weight;
    if (!is_int(packing)) return sdk::decode_float(layer.quant, layer.out_features, layer.in_features, packed);
    if (packing == Packing::awq) return sdk::unpack_awq(packed, quant, layer.out_features, layer.in_features);
    return sdk::unpack_gptq(packed, quant, layer.out_features, layer.in_features, gptq_layout(packing).zeros);
  }

  [[nodiscard]] int64_t packed_bytes(const LayerPlan& layer, std::string_view variant) const override {
    if (layer.quant.weight.data_type != "int") return sdk::packed_layer_bytes(layer, sdk::float_shapes(layer, kFp8));
    // Without g_idx all integer packings of a layer have the same size.
    return sdk::packed_layer_bytes(layer, shapes_of(layer, packing_of_variant(variant).value_or(Packing::plain)));
  }

  [[nodiscard]] std::unique_ptr<ExportJob> open(const ExportRequest& request, std::string_view variant) const override {
    const Packing packing = choose_packing(request.plan, variant);
    sdk::HfFormat format;
    format.shapes = [packing, &source = request.source](const LayerPlan& layer) {
      std::vector<sdk::PackedTensorShape> shapes = shapes_of(layer, packing);
      for (const auto& [suffix, tensor] : rotation_tensors(source, layer.name))
        shapes.push_back({suffix, tensor.scalar_type(), tensor.sizes().vec()});
      return shapes;
    };
    format.pack = [packing, &source = request.source](const LayerRecord& layer) {
      TensorMap packed = pack_layer(layer, packing);
      packed.merge(rotation_tensors(source, layer.plan.name));
      return packed;
    };
    // Without a quantized layer the folder is a plain model, and says so: loaders refuse a config of 16 bits.
    if (packing != Packing::none) format.quantization_config = quantization_config(request, packing);
    if (!is_fp8(packing)) format.bias_dtype = at::ScalarType::Half;
    if (packing == Packing::awq) format.declared_dtype = at::ScalarType::Half;
    return sdk::open_hf_export(request, std::move(format));
  }

 private:
  static json::Object quantization_config(const ExportRequest& request, Packing packing) {
    const LayerQuant& global = request.plan.global;
    json::Object config = sdk::base_quantization_config(request.plan, request.run);
    if (packing == Packing::fp8_block)
      config["weight_block_size"] = json::Array{global.weight.block_rows, global.weight.group_size};
    config["block_name_to_quantize"] = sdk::block_prefixes(request.plan);
    config["quant_method"] = "auto-round";
    if (!packing_name(packing).empty()) config["packing_format"] = packing_name(packing);
    if (is_fp8(packing)) {
      config["fmt"] = "e4m3";
      config["activation_scheme"] = packing == Packing::fp8_static ? "static" : "dynamic";
    }
    json::Object extra = request.run.model_free ? sdk::model_free_extra_config(request.plan)
                                                : sdk::extra_config(request.plan, is_fp8(packing));
    sdk::leave_alone(extra, request);
    if (!extra.empty()) config["extra_config"] = std::move(extra);
    write_rotations(request.source, config);
    return config;
  }
};

}  // namespace
}  // namespace arkit::auto_round

ARKIT_PLUGIN("org.arkit.format.auto_round", "0.1.0", "arkit", "Apache-2.0", "",
             arkit::component<arkit::Exporter, arkit::auto_round::AutoRoundExporter>(
                 "auto_round", "AutoRound: 2 to 8 bit integers, MXFP, NVFP4, FP8"),
             arkit::component<arkit::ModelReader, arkit::auto_round::AutoRoundReader>(
                 "auto_round", "folders written by AutoRound or arkit (quant_method auto-round)"));
