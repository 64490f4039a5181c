// AutoRound's own format (quant_method "auto-round") for integer weights; README.md draws the layouts.

#include <array>
#include <memory>
#include <string>

#include <arkit/error.h>
#include <arkit/exporter.h>
#include <arkit/plugin.h>
#include <arkit/sdk/hf_export.h>
#include <arkit/sdk/int_format.h>
#include <arkit/sdk/int_layouts.h>
#include <arkit/sdk/quant_config.h>
#include <arkit/str.h>

#include "auto_round_reader.h"
#include "packing.h"

namespace arkit::auto_round {
namespace {

constexpr std::array<std::string_view, 3> kVariants = {"auto_round:auto_gptq", "auto_round:gptqmodel",
                                                       "auto_round:auto_awq"};

sdk::GptqLayout gptq_layout(Packing packing) {
  const auto zeros = packing == Packing::gptq ? sdk::ZeroConvention::minus_one : sdk::ZeroConvention::direct;
  return {.zeros = zeros, .g_idx = packing == Packing::gptqmodel};
}

std::vector<sdk::PackedTensorShape> shapes_of(const LayerPlan& layer, Packing packing) {
  return packing == Packing::awq ? sdk::awq_shapes(layer) : sdk::gptq_shapes(layer, packing == Packing::gptqmodel);
}

TensorMap pack_layer(const LayerRecord& layer, Packing packing) {
  const TensorQuant& quant = layer.plan.quant.weight;
  if (packing == Packing::awq) return sdk::pack_awq(layer.quantized, quant);
  return sdk::pack_gptq(layer.quantized, quant, gptq_layout(packing));
}

class AutoRoundExporter final : public Exporter {
 public:
  [[nodiscard]] const ExporterInfo& info() const noexcept override {
    static constexpr ExporterInfo kInfo{"auto_round", "AutoRound: GPTQ, AWQ or plain packing of 2 to 8 bit integers",
                                        "auto-round"};
    return kInfo;
  }

  [[nodiscard]] std::span<const std::string_view> variants() const override { return kVariants; }

  [[nodiscard]] Verdict supports(const LayerPlan& layer, std::string_view variant) const override {
    if (Verdict verdict = sdk::supports_int_weight(layer, "auto_round"); !verdict) return verdict;
    const int bits = layer.quant.weight.bits;
    const auto packing = packing_of_variant(variant);
    if (packing == Packing::awq) {
      if (bits < 4 || bits > 7)
        return Verdict::no(str("the AWQ packing holds 4 to 7 bits, not ", bits, "; use --format auto_round"));
      return sdk::supports_awq_shape(layer);
    }
    if (bits < 2 || bits > 8) return Verdict::no(str("auto_round holds 2 to 8 bits, not ", bits));
    if (Verdict verdict = sdk::supports_w8_asym(layer); !verdict) return verdict;
    return sdk::supports_gptq_shape(layer);
  }

  [[nodiscard]] TensorMap pack(const LayerRecord& layer, const QuantPlan& plan,
                               std::string_view variant) const override {
    return pack_layer(layer, choose_packing(plan, variant));
  }

  [[nodiscard]] QuantizedWeight unpack(const LayerPlan& layer, const TensorMap& packed, const QuantPlan& plan,
                                       std::string_view variant) const override {
    const Packing packing = choose_packing(plan, variant);
    const TensorQuant& quant = layer.quant.weight;
    if (packing == Packing::awq) return sdk::unpack_awq(packed, quant, layer.out_features, layer.in_features);
    return sdk::unpack_gptq(packed, quant, layer.out_features, layer.in_features, gptq_layout(packing).zeros);
  }

  [[nodiscard]] int64_t packed_bytes(const LayerPlan& layer, std::string_view variant) const override {
    // Without g_idx all packings of a layer have the same size.
    return sdk::packed_layer_bytes(layer, shapes_of(layer, packing_of_variant(variant).value_or(Packing::plain)));
  }

  [[nodiscard]] std::unique_ptr<ExportJob> open(const ExportRequest& request, std::string_view variant) const override {
    const Packing packing = choose_packing(request.plan, variant);
    sdk::HfFormat format;
    format.shapes = [packing](const LayerPlan& layer) { return shapes_of(layer, packing); };
    format.pack = [packing](const LayerRecord& layer) { return pack_layer(layer, packing); };
    format.quantization_config = quantization_config(request, packing);
    format.bias_dtype = at::ScalarType::Half;
    if (packing == Packing::awq) format.declared_dtype = at::ScalarType::Half;
    return sdk::open_hf_export(request, std::move(format));
  }

 private:
  static json::Object quantization_config(const ExportRequest& request, Packing packing) {
    json::Object config = sdk::base_quantization_config(request.plan, request.run);
    config["block_name_to_quantize"] = sdk::block_prefixes(request.plan);
    config["quant_method"] = "auto-round";
    config["packing_format"] = packing_name(packing);
    json::Object extra = sdk::extra_config(request.plan);
    if (!extra.empty()) config["extra_config"] = std::move(extra);
    return config;
  }
};

}  // namespace
}  // namespace arkit::auto_round

ARKIT_PLUGIN("org.arkit.format.auto_round", "0.1.0", "arkit", "Apache-2.0", "",
             arkit::component<arkit::Exporter, arkit::auto_round::AutoRoundExporter>(
                 "auto_round", "AutoRound: GPTQ, AWQ or plain packing of 2 to 8 bit integers"),
             arkit::component<arkit::ModelReader, arkit::auto_round::AutoRoundReader>(
                 "auto_round", "folders written by AutoRound or arkit (quant_method auto-round)"));
