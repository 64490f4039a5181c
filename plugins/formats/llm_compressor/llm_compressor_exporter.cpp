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
#include "recipe_record.h"
#include "yaml_text.h"

namespace arkit::llm_compressor {
namespace {

constexpr std::string_view kRecipeVariant = "llmcompressor";  // files as llm-compressor writes them itself
constexpr std::string_view kAutoRoundVariant = "auto_round:llm_compressor";
constexpr std::array<std::string_view, 2> kVariants = {kAutoRoundVariant, kRecipeVariant};

Dialect dialect_of(std::string_view variant) {
  return {.llm_compressor = variant == kRecipeVariant};
}

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
                                        .attention_scales = true,
                                        .recipe_variant = kRecipeVariant};
    return kInfo;
  }

  // Another name for the same files; llm-compressor's own.
  [[nodiscard]] std::span<const std::string_view> variants() const override { return kVariants; }

  [[nodiscard]] bool rounds_without_family(std::string_view scheme, std::string_view variant) const override {
    return variant == kAutoRoundVariant || (variant == info().name && (scheme == "MXFP4" || scheme == "MXFP8"));
  }

  [[nodiscard]] Verdict supports(const LayerPlan& layer, std::string_view variant) const override {
    return supports_layer(layer, dialect_of(variant));
  }

  [[nodiscard]] Verdict supports_plan(const QuantPlan& plan, std::string_view variant) const override {
    if (variant == kRecipeVariant && plan.attention.quantized()) {
      if (plan.attention.query.quantized())
        return Verdict::no("llm-compressor's files have no place for static scales of queries; use llm_compressor");
      return Verdict::yes();  // keys and values alone make an export too
    }
    if (plan.attention.kv.group_size > 0 && plan.attention.kv.quantized() && plan.attention.kv_per_head)
      return Verdict::no(
          "compressed-tensors has one global scale a module for 4-bit keys and values; use "
          "--static_kv_granularity tensor, or --static_kv_dtype fp8");
    return sdk::quantizes_something(plan, "llm_compressor");
  }

  [[nodiscard]] TensorMap pack(const LayerRecord& layer, const QuantPlan&, std::string_view variant) const override {
    Dialect dialect = dialect_of(variant);
    // The dtype of the model, which only `open` knows: that of the scales, where they are numbers of a model.
    const at::ScalarType scale = layer.quantized.scale.scalar_type();
    if (scale == at::kHalf || scale == at::kFloat) dialect.dtype = scale;
    return pack_layer(layer, dialect);
  }

  [[nodiscard]] QuantizedWeight unpack(const LayerPlan& layer, const TensorMap& packed, const QuantPlan&,
                                       std::string_view) const override {
    return decode_layer(layer.quant, layout_of(layer.quant).value(), layer.out_features, layer.in_features, packed);
  }

  [[nodiscard]] int64_t packed_bytes(const LayerPlan& layer, std::string_view variant) const override {
    return sdk::packed_layer_bytes(layer, shapes_of(layer, dialect_of(variant)));
  }

  [[nodiscard]] std::unique_ptr<ExportJob> open(const ExportRequest& request, std::string_view variant) const override {
    Dialect dialect = dialect_of(variant);
    dialect.dtype = request.model_dtype;
    const RecipeRecord recipe = request.run.recipe ? *request.run.recipe : recipe_of(request);
    sdk::HfFormat format;
    format.shapes = [dialect](const LayerPlan& layer) { return shapes_of(layer, dialect); };
    format.pack = [dialect](const LayerRecord& layer) { return pack_layer(layer, dialect); };
    format.attention_scale_broadcast = true;  // what compressed-tensors allocates; AutoRound's [heads] does not load
    const std::string attention = attention_class(request.source);
    format.quantization_config = dialect.llm_compressor
                                     ? recorded_config(request.plan, recipe, request.source.weights())
                                     : quantization_config(request.plan, {.attention_class = attention,
                                                                          .weights = request.source.weights(),
                                                                          .model_free = request.run.model_free});
    format.quantization_config_file = !dialect.llm_compressor;
    format.sorted_config = dialect.llm_compressor;
    if (dialect.llm_compressor) format.attention_scale_dtype = dialect.dtype;
    if (!request.run.converted) format.texts.emplace_back("recipe.yaml", yaml_text(recipe.document));
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
