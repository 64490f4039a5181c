// AWQ checkpoints (quant_method "awq", version "gemm"); README.md draws the layout.

#include <memory>
#include <string>
#include <unordered_set>

#include <arkit/error.h>
#include <arkit/exporter.h>
#include <arkit/plugin.h>
#include <arkit/sdk/hf_export.h>
#include <arkit/sdk/int_format.h>
#include <arkit/sdk/int_layouts.h>
#include <arkit/sdk/linear_layers.h>
#include <arkit/sdk/quant_config.h>
#include <arkit/str.h>

#include "auto_awq_reader.h"

namespace arkit::auto_awq {
namespace {

constexpr int kBits = 4;

// Names loaders must leave alone: the user's 16-bit patterns as typed (loaders search for them in module names), every
// 16-bit layer inside blocks, the heads, and what no plan knows.
json::Array modules_to_not_convert(const QuantPlan& plan, const WeightSource& weights) {
  json::Array modules;
  std::unordered_set<std::string> seen;
  const auto add = [&](const std::string& name) {
    if (seen.insert(name).second) modules.emplace_back(name);
  };
  for (const PatternRule* rule : sdk::pattern_rules(plan))
    if (!rule->quant.weight.quantized()) add(rule->pattern);
  for (const LayerPlan& layer : plan.layers)
    if (layer.block >= 0 && !layer.quantized()) add(layer.name);
  bool any_head = false;
  for (const LayerPlan& layer : plan.layers) {
    if (layer.block >= 0) continue;
    any_head = true;
    if (!layer.quantized()) add(layer.name);
  }
  if (!any_head) add("lm_head");
  for (const std::string& name : unplanned_linears(plan, weights)) add(name);
  return modules;
}

class AutoAwqExporter final : public Exporter {
 public:
  [[nodiscard]] const ExporterInfo& info() const noexcept override {
    static constexpr ExporterInfo kInfo{"auto_awq", "AWQ checkpoints of 4 bits (gemm layout)", "awq"};
    return kInfo;
  }

  [[nodiscard]] Verdict supports(const LayerPlan& layer, std::string_view) const override {
    if (Verdict verdict = sdk::supports_int_weight(layer, "auto_awq"); !verdict) return verdict;
    const int bits = layer.quant.weight.bits;
    if (bits >= 5 && bits <= 7)
      return Verdict::no(
          str("AWQ loaders read 4 bits, not ", bits, "; use --format auto_round:auto_awq or auto_round"));
    if (bits != kBits) return Verdict::no(str("AWQ loaders read 4 bits, not ", bits, "; use --format auto_round"));
    return sdk::supports_awq_shape(layer);
  }

  [[nodiscard]] Verdict supports_plan(const QuantPlan& plan, std::string_view) const override {
    for (const LayerPlan& layer : plan.layers) {
      const TensorQuant& weight = layer.quant.weight;
      const TensorQuant& global = plan.global.weight;
      if (!layer.quantized()) continue;
      if (weight.bits != global.bits || weight.group_size != global.group_size || weight.sym != global.sym)
        return Verdict::no(str("layer '", layer.name,
                               "' has its own scheme, and AWQ files have one for all layers; use ",
                               "--format auto_round, or keep the layer in 16 bits"));
    }
    return sdk::quantizes_something(plan, "auto_awq");
  }

  [[nodiscard]] TensorMap pack(const LayerRecord& layer, const QuantPlan&, std::string_view) const override {
    return sdk::pack_awq(layer.quantized, layer.plan.quant.weight);
  }

  [[nodiscard]] QuantizedWeight unpack(const LayerPlan& layer, const TensorMap& packed, const QuantPlan&,
                                       std::string_view) const override {
    return sdk::unpack_awq(packed, layer.quant.weight, layer.out_features, layer.in_features);
  }

  [[nodiscard]] int64_t packed_bytes(const LayerPlan& layer, std::string_view) const override {
    return sdk::packed_layer_bytes(layer, sdk::awq_shapes(layer));
  }

  [[nodiscard]] std::unique_ptr<ExportJob> open(const ExportRequest& request, std::string_view) const override {
    sdk::HfFormat format;
    format.shapes = sdk::awq_shapes;
    format.pack = [](const LayerRecord& layer) { return sdk::pack_awq(layer.quantized, layer.plan.quant.weight); };
    format.quantization_config = quantization_config(request);
    format.bias_dtype = at::ScalarType::Half;
    format.declared_dtype = at::ScalarType::Half;
    return sdk::open_hf_export(request, std::move(format));
  }

 private:
  static json::Object quantization_config(const ExportRequest& request) {
    json::Object config = sdk::base_quantization_config(request.plan, request.run, "to_quant_block_names");
    config["provider"] = "auto-round";
    config["quant_method"] = "awq";
    config["zero_point"] = !request.plan.global.weight.sym;
    config["version"] = "gemm";
    json::Array modules = modules_to_not_convert(request.plan, request.source.weights());
    if (!modules.empty()) config["modules_to_not_convert"] = std::move(modules);
    return config;
  }
};

}  // namespace
}  // namespace arkit::auto_awq

ARKIT_PLUGIN("org.arkit.format.auto_awq", "0.1.0", "arkit", "Apache-2.0", "",
             arkit::component<arkit::Exporter, arkit::auto_awq::AutoAwqExporter>(
                 "auto_awq", "AWQ checkpoints of 4 bits (gemm layout)"),
             arkit::component<arkit::ModelReader, arkit::auto_awq::AutoAwqReader>(
                 "auto_awq", "AWQ checkpoints of the gemm layout (quant_method awq)"));
