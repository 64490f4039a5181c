// MLX folders; README.md draws the layout.

#include <array>
#include <memory>
#include <string>

#include <arkit/exporter.h>
#include <arkit/plugin.h>
#include <arkit/sdk/hf_export.h>
#include <arkit/sdk/int_format.h>
#include <arkit/source_check.h>

#include "mlx_config.h"
#include "mlx_experts.h"
#include "mlx_layout.h"
#include "mlx_names.h"
#include "mlx_reader.h"
#include "mlx_rope.h"
#include "mlx_settings.h"

namespace arkit::mlx {
namespace {

constexpr std::array<std::string_view, 1> kVariants = {"auto_round:mlx"};

json::Object auto_round_config(const TensorQuant& weight) {
  return {{"quant_method", "auto-round"},    {"packing_format", "mlx"}, {"bits", weight.bits},
          {"group_size", weight.group_size}, {"sym", weight.sym},       {"data_type", weight.data_type}};
}

// The source's settings in the words of mlx-lm's classes.
void write_settings(json::Object& config) {
  write_defaults(config);
  write_rope(config);
}

class MlxExporter final : public Exporter, public SourceCheck {
 public:
  [[nodiscard]] const ExporterInfo& info() const noexcept override {
    static constexpr ExporterInfo kInfo{"mlx", "MLX affine quantization, as mlx-lm reads it", ""};
    return kInfo;
  }

  // The same tensors with a quantization_config for AutoRound's loader.
  [[nodiscard]] std::span<const std::string_view> variants() const override { return kVariants; }

  [[nodiscard]] bool rounds_without_family(std::string_view, std::string_view variant) const override {
    return variant == kVariants[0];
  }

  [[nodiscard]] Verdict supports(const LayerPlan& layer, std::string_view) const override {
    return supports_layer(layer);
  }

  [[nodiscard]] Verdict supports_plan(const QuantPlan& plan, std::string_view) const override {
    if (!plan.global.weight.quantized())
      return Verdict::no(
          "mlx files record one scheme for the model and exceptions from it; choose a scheme of 2 to 8 bits");
    if (Verdict verdict = supports_packed(plan); !verdict) return verdict;
    return supports_experts(plan);
  }

  [[nodiscard]] Verdict supports_source(const ModelSource& source, const QuantPlan&, std::string_view) const override {
    if (Verdict verdict = supports_architecture(source); !verdict) return verdict;
    if (Verdict verdict = supports_settings(source.config()); !verdict) return verdict;
    if (Verdict verdict = supports_rope(source.config()); !verdict) return verdict;
    json::Object config = source.config();
    write_settings(config);
    return has_needed_settings(config);
  }

  [[nodiscard]] TensorMap pack(const LayerRecord& layer, const QuantPlan&, std::string_view) const override {
    return pack_layer(layer.quantized, layer.plan.quant.weight);
  }

  [[nodiscard]] QuantizedWeight unpack(const LayerPlan& layer, const TensorMap& packed, const QuantPlan&,
                                       std::string_view) const override {
    return decode_layer(packed, layer.quant.weight, layer.in_features);
  }

  [[nodiscard]] int64_t packed_bytes(const LayerPlan& layer, std::string_view) const override {
    return sdk::packed_layer_bytes(layer, shapes_of(layer));
  }

  [[nodiscard]] std::unique_ptr<ExportJob> open(const ExportRequest& request, std::string_view variant) const override {
    const ExpertStacks stacks(request.plan);
    const json::Object quantization = quantization_of(request, stacks);
    sdk::HfFormat format;
    format.shapes = shapes_of;
    format.pack = [](const LayerRecord& layer) { return pack_layer(layer.quantized, layer.plan.quant.weight); };
    format.quantization_config = variant == kVariants[0] ? auto_round_config(request.plan.global.weight) : quantization;
    format.quantization_config_file = false;
    format.bias_dtype = at::ScalarType::Half;
    // mlx-lm reads every model*.safetensors and refuses tensors its model has no place for.
    format.extra_file = "extra_tensors.safetensors";
    format.place = [stacks](std::string_view name) { return stacks.place(name); };
    format.is_extra = [&source = request.source](const TensorInfo& info) {
      return has_no_place(info, source.config());
    };
    format.edit_config = [quantization](json::Object& config) {
      write_settings(config);
      config["quantization"] = quantization;
    };
    return sdk::open_hf_export(request, std::move(format));
  }
};

}  // namespace
}  // namespace arkit::mlx

ARKIT_PLUGIN("org.arkit.format.mlx", "0.1.0", "arkit", "Apache-2.0", "",
             arkit::component<arkit::Exporter, arkit::mlx::MlxExporter>("mlx",
                                                                        "MLX affine quantization, as mlx-lm reads it"),
             arkit::component<arkit::ModelReader, arkit::mlx::MlxReader>("mlx",
                                                                         "MLX checkpoints of affine quantization"));
