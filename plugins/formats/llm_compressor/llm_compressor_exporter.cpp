// compressed-tensors folders (quant_method "compressed-tensors"), what llm-compressor writes; README.md draws the
// layouts.

#include <array>
#include <memory>
#include <string>

#include <arkit/error.h>
#include <arkit/exporter.h>
#include <arkit/plugin.h>
#include <arkit/sdk/hf_export.h>
#include <arkit/sdk/int_format.h>
#include <arkit/sdk/quant_config.h>
#include <arkit/str.h>

#include "config_groups.h"
#include "layouts.h"
#include "llm_compressor_reader.h"

namespace arkit::llm_compressor {
namespace {

constexpr std::array<std::string_view, 1> kVariants = {"auto_round:llm_compressor"};

// "LlamaAttention" for "LlamaForCausalLM": the class transformers gives the attention modules.
std::string attention_class(const ModelSource& source) {
  const json::Value* names = json::find(source.config(), "architectures");
  if (names == nullptr || !names->is_array() || names->get_array().empty() || !names->get_array()[0].is_string())
    return "Attention";
  const std::string name(names->get_array()[0].get_string());
  return name.substr(0, name.find("For")) + "Attention";
}

class LlmCompressorExporter final : public Exporter {
 public:
  [[nodiscard]] const ExporterInfo& info() const noexcept override {
    static constexpr ExporterInfo kInfo{.name = "llm_compressor",
                                        .summary = "compressed-tensors, as vLLM and llm-compressor use it",
                                        .quant_method = "compressed-tensors",
                                        .attention_scales = true};
    return kInfo;
  }

  // Another name for the same files.
  [[nodiscard]] std::span<const std::string_view> variants() const override { return kVariants; }

  [[nodiscard]] Verdict supports(const LayerPlan& layer, std::string_view) const override {
    return supports_layer(layer);
  }

  [[nodiscard]] Verdict supports_plan(const QuantPlan& plan, std::string_view) const override {
    if (plan.attention.kv.group_size > 0 && plan.attention.kv.quantized() && plan.attention.kv_per_head)
      return Verdict::no(
          "compressed-tensors has one global scale a module for 4-bit keys and values; use "
          "--static_kv_granularity tensor, or --static_kv_dtype fp8");
    return sdk::quantizes_something(plan, "llm_compressor");
  }

  [[nodiscard]] TensorMap pack(const LayerRecord& layer, const QuantPlan&, std::string_view) const override {
    return pack_layer(layer);
  }

  [[nodiscard]] QuantizedWeight unpack(const LayerPlan& layer, const TensorMap& packed, const QuantPlan&,
                                       std::string_view) const override {
    return decode_layer(layer.quant, layout_of(layer.quant).value(), layer.out_features, layer.in_features, packed);
  }

  [[nodiscard]] int64_t packed_bytes(const LayerPlan& layer, std::string_view) const override {
    return sdk::packed_layer_bytes(layer, shapes_of(layer));
  }

  [[nodiscard]] std::unique_ptr<ExportJob> open(const ExportRequest& request, std::string_view) const override {
    sdk::HfFormat format;
    format.shapes = shapes_of;
    format.pack = pack_layer;
    format.attention_scale_broadcast = true;  // what compressed-tensors allocates; AutoRound's [heads] does not load
    const std::string attention = attention_class(request.source);
    format.quantization_config = quantization_config(
        request.plan,
        {.attention_class = attention, .weights = request.run.model_free ? &request.source.weights() : nullptr});
    return sdk::open_hf_export(request, std::move(format));
  }
};

}  // namespace
}  // namespace arkit::llm_compressor

ARKIT_PLUGIN("org.arkit.format.llm_compressor", "0.1.0", "arkit", "Apache-2.0", "",
             arkit::component<arkit::Exporter, arkit::llm_compressor::LlmCompressorExporter>(
                 "llm_compressor", "compressed-tensors, as vLLM and llm-compressor use it"),
             arkit::component<arkit::ModelReader, arkit::llm_compressor::LlmCompressorReader>(
                 "llm_compressor", "compressed-tensors checkpoints (quant_method compressed-tensors)"));
