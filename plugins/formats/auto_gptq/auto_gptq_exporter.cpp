// GPTQ checkpoints (quant_method "gptq"); README.md draws the layout.

#include <memory>
#include <string>

#include <arkit/error.h>
#include <arkit/exporter.h>
#include <arkit/plugin.h>
#include <arkit/sdk/group_index.h>
#include <arkit/sdk/hf_export.h>
#include <arkit/sdk/int_format.h>
#include <arkit/sdk/int_layouts.h>
#include <arkit/sdk/quant_config.h>
#include <arkit/str.h>

#include "auto_gptq_reader.h"
#include "dynamic.h"

namespace arkit::auto_gptq {
namespace {

constexpr sdk::GptqLayout kLayout{.zeros = sdk::ZeroConvention::minus_one, .g_idx = true, .act_order = true};

class AutoGptqExporter final : public Exporter {
 public:
  [[nodiscard]] const ExporterInfo& info() const noexcept override {
    static constexpr ExporterInfo kInfo{"auto_gptq", "GPTQ checkpoints of 2, 3, 4 or 8 bits, as GPTQModel reads them",
                                        "gptq"};
    return kInfo;
  }

  [[nodiscard]] Verdict supports(const LayerPlan& layer, std::string_view) const override {
    if (Verdict verdict = sdk::supports_int_weight(layer, "auto_gptq"); !verdict) return verdict;
    const int bits = layer.quant.weight.bits;
    if (bits != 2 && bits != 3 && bits != 4 && bits != 8)
      return Verdict::no(str("GPTQ loaders read 2, 3, 4 and 8 bits, not ", bits, "; use --format auto_round"));
    return sdk::supports_gptq_shape(layer);
  }

  [[nodiscard]] Verdict supports_plan(const QuantPlan& plan, std::string_view) const override {
    return sdk::quantizes_something(plan, "auto_gptq");
  }

  [[nodiscard]] TensorMap pack(const LayerRecord& layer, const QuantPlan&, std::string_view) const override {
    return sdk::pack_gptq(layer.quantized, layer.plan.quant.weight, kLayout);
  }

  [[nodiscard]] QuantizedWeight unpack(const LayerPlan& layer, const TensorMap& packed, const QuantPlan&,
                                       std::string_view) const override {
    return sdk::unpack_gptq(packed, layer.quant.weight, layer.out_features, layer.in_features, kLayout.zeros);
  }

  [[nodiscard]] int64_t packed_bytes(const LayerPlan& layer, std::string_view) const override {
    return sdk::packed_layer_bytes(layer, sdk::gptq_shapes(layer, kLayout.g_idx));
  }

  [[nodiscard]] std::unique_ptr<ExportJob> open(const ExportRequest& request, std::string_view) const override {
    sdk::HfFormat format;
    format.shapes = [](const LayerPlan& layer) { return sdk::gptq_shapes(layer, kLayout.g_idx); };
    const auto act_order = std::make_shared<bool>(false);
    format.pack = [act_order](const LayerRecord& layer) {
      *act_order = *act_order || sdk::index_of(layer.quantized).defined();
      return sdk::pack_gptq(layer.quantized, layer.plan.quant.weight, kLayout);
    };
    format.quantization_config = quantization_config(request);
    format.finish_config = [act_order](json::Object& config) { config["desc_act"] = *act_order; };
    format.bias_dtype = at::ScalarType::Half;
    format.declared_dtype = at::ScalarType::Half;
    return sdk::open_hf_export(request, std::move(format));
  }

 private:
  static json::Object quantization_config(const ExportRequest& request) {
    json::Object config = sdk::base_quantization_config(request.plan, request.run);
    json::Object dynamic = dynamic_config(request.plan, request.source.weights());
    if (!dynamic.empty()) config["dynamic"] = std::move(dynamic);
    bool head = false;
    for (const LayerPlan& layer : request.plan.layers) head = head || (layer.block < 0 && layer.quantized());
    config["lm_head"] = head;
    config["provider"] = "auto-round";
    config["quant_method"] = "gptq";
    config["desc_act"] = false;
    config["true_sequential"] = false;
    config["damp_percent"] = 0.01;
    json::Array modules = modules_in_block(request.plan);
    if (!modules.empty()) config["modules_in_block_to_quantize"] = std::move(modules);
    return config;
  }
};

}  // namespace
}  // namespace arkit::auto_gptq

ARKIT_PLUGIN("org.arkit.format.auto_gptq", "0.1.0", "arkit", "Apache-2.0", "",
             arkit::component<arkit::Exporter, arkit::auto_gptq::AutoGptqExporter>(
                 "auto_gptq", "GPTQ checkpoints of 2, 3, 4 or 8 bits, as GPTQModel reads them"),
             arkit::component<arkit::ModelReader, arkit::auto_gptq::AutoGptqReader>(
                 "auto_gptq", "GPTQ checkpoints (quant_method gptq)"));
