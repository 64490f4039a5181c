// Fine-grained fp8 checkpoints (quant_method "fp8"); README.md draws the layout.

#include <memory>
#include <string>

#include <arkit/exporter.h>
#include <arkit/plugin.h>
#include <arkit/sdk/float_layouts.h>
#include <arkit/sdk/hf_export.h>
#include <arkit/sdk/int_format.h>
#include <arkit/sdk/linear_layers.h>
#include <arkit/sdk/quant_config.h>
#include <arkit/str.h>

#include "fp8_reader.h"

namespace arkit::fp8 {
namespace {

constexpr sdk::Fp8Layout kLayout{};

class Fp8Exporter final : public Exporter {
 public:
  [[nodiscard]] const ExporterInfo& info() const noexcept override {
    static constexpr ExporterInfo kInfo{"fp8", "fine-grained fp8 in 128 x 128 blocks, as DeepSeek-V3 is stored", "fp8"};
    return kInfo;
  }

  [[nodiscard]] Verdict supports(const LayerPlan& layer, std::string_view) const override {
    const LayerQuant& quant = layer.quant;
    if (quant.weight.data_type != "fp" || quant.weight.block_rows == 0)
      return Verdict::no(str("the fp8 format stores FP8_BLOCK only, not ", quant.weight.bits, "-bit '",
                             quant.weight.data_type,
                             "' weights without blocks; use --format llm_compressor or auto_round"));
    if (!quant.act.quantized() || !quant.act.dynamic || quant.act.data_type != "fp")
      return Verdict::no("the fp8 format means activations of 8-bit floats with dynamic scales; leave act_bits at 8");
    return sdk::supports_float_weight(layer, "fp8");
  }

  [[nodiscard]] Verdict supports_plan(const QuantPlan& plan, std::string_view) const override {
    for (const LayerPlan& layer : plan.layers) {
      if (!layer.quantized()) continue;
      const TensorQuant &weight = layer.quant.weight, &global = plan.global.weight;
      if (weight.block_rows != global.block_rows || weight.group_size != global.group_size)
        return Verdict::no(str("layer '", layer.name,
                               "' has its own block size, and fp8 files have one for all layers; ",
                               "use --format llm_compressor, or keep the layer in 16 bits"));
    }
    return sdk::quantizes_something(plan, "fp8");
  }

  [[nodiscard]] TensorMap pack(const LayerRecord& layer, const QuantPlan&, std::string_view) const override {
    return sdk::pack_float(layer, kLayout);
  }

  [[nodiscard]] QuantizedWeight unpack(const LayerPlan& layer, const TensorMap& packed, const QuantPlan&,
                                       std::string_view) const override {
    return sdk::decode_float(layer.quant, layer.out_features, layer.in_features, packed);
  }

  [[nodiscard]] int64_t packed_bytes(const LayerPlan& layer, std::string_view) const override {
    return sdk::packed_layer_bytes(layer, sdk::float_shapes(layer, kLayout));
  }

  [[nodiscard]] std::unique_ptr<ExportJob> open(const ExportRequest& request, std::string_view) const override {
    sdk::HfFormat format;
    format.shapes = [](const LayerPlan& layer) { return sdk::float_shapes(layer, kLayout); };
    format.pack = [](const LayerRecord& layer) { return sdk::pack_float(layer, kLayout); };
    format.quantization_config = quantization_config(request);
    return sdk::open_hf_export(request, std::move(format));
  }

 private:
  static json::Object quantization_config(const ExportRequest& request) {
    const TensorQuant& weight = request.plan.global.weight;
    json::Object config = sdk::base_quantization_config(request.plan, request.run);
    config["weight_block_size"] = json::Array{weight.block_rows, weight.group_size};
    json::Array ignored;
    for (const LayerPlan& layer : request.plan.layers)
      if (layer.block >= 0 && !layer.quantized()) ignored.emplace_back(layer.name);
    for (const std::string& name : unplanned_linears(request.plan, request.source.weights()))
      ignored.emplace_back(name);
    if (!ignored.empty()) config["ignored_layers"] = std::move(ignored);
    config["block_name_to_quantize"] = sdk::block_prefixes(request.plan);
    config["quant_method"] = "fp8";
    config["fmt"] = "e4m3";
    config["activation_scheme"] = "dynamic";
    json::Object extra = sdk::extra_config(request.plan, true);
    sdk::leave_alone(extra, request);
    if (!extra.empty()) config["extra_config"] = std::move(extra);
    return config;
  }
};

}  // namespace
}  // namespace arkit::fp8

ARKIT_PLUGIN("org.arkit.format.fp8", "0.1.0", "arkit", "Apache-2.0", "",
             arkit::component<arkit::Exporter, arkit::fp8::Fp8Exporter>(
                 "fp8", "fine-grained fp8 in 128 x 128 blocks, as DeepSeek-V3 is stored"),
             arkit::component<arkit::ModelReader, arkit::fp8::Fp8Reader>(
                 "fp8", "fine-grained fp8 checkpoints (quant_method fp8)"));
