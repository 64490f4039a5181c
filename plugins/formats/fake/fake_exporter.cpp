// "fake": a full-size checkpoint with quantized-dequantized weights, for measuring what a scheme costs in any engine.

#include <memory>
#include <string>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/exporter.h>
#include <arkit/plugin.h>
#include <arkit/sdk/float_layouts.h>
#include <arkit/sdk/hf_export.h>
#include <arkit/sdk/quant_config.h>
#include <arkit/sdk/safetensors_layout.h>
#include <arkit/str.h>

namespace arkit::fake {
namespace {

constexpr std::string_view kWeight = "weight";
constexpr std::string_view kGlobalScale = "input_global_scale";

// The shape the source stores: Conv1D keeps [in, out].
std::vector<int64_t> stored_shape(const LayerPlan& layer) {
  if (layer.kind == LayerKind::conv1d) return {layer.in_features, layer.out_features};
  return {layer.out_features, layer.in_features};
}

// The one activation scale a loader cannot make itself (docs/spec/format-fake.md 1).
bool has_global_scale(const LayerPlan& layer) {
  return layer.quant.act.quantized() && layer.quant.act.data_type == "nv_fp4_with_static_gs";
}

TensorMap weight_of(const LayerRecord& layer) {
  ARKIT_CHECK(layer.dequantized.defined(), "the fake format needs the dequantized weight of every layer");
  const bool transposed = layer.plan.kind == LayerKind::conv1d;
  TensorMap packed;
  packed.emplace(kWeight, transposed ? layer.dequantized.t().contiguous() : layer.dequantized);
  if (has_global_scale(layer.plan)) {
    ARKIT_CHECK(layer.act_max.defined(), str("layer '", layer.plan.name, "' has no calibrated maximum"));
    packed.emplace(kGlobalScale, sdk::input_global_scale(layer.act_max));
  }
  return packed;
}

// A symmetric weight that rounds to zero keeps its sign in the reference's files; codes do not know it.
at::Tensor with_signed_zeros(const at::Tensor& dequantized, const LayerPlan& layer, const ModelSource& source) {
  const std::string name = layer.name + ".weight";
  const TensorInfo* info = source.weights().find(name);
  const TensorQuant& quant = layer.quant.weight;
  const bool one_zero =
      (quant.data_type == "int" && quant.sym) || quant.data_type == "nv_fp" || quant.data_type == "nvfp4_v2";
  if (!one_zero || info == nullptr || info->shape != dequantized.sizes().vec()) return dequantized;
  const at::Tensor weight = source.weights().load(name).to(dequantized.scalar_type());
  return at::where(dequantized.eq(0), at::copysign(at::zeros_like(dequantized), weight), dequantized);
}

class FakeExporter final : public Exporter {
 public:
  [[nodiscard]] const ExporterInfo& info() const noexcept override {
    static constexpr ExporterInfo kInfo{.name = "fake",
                                        .summary = "full-size weights after quantization and dequantization",
                                        .quant_method = "",
                                        .wants_dequantized = true};
    return kInfo;
  }

  [[nodiscard]] Verdict supports(const LayerPlan& layer, std::string_view) const override {
    if (layer.kind == LayerKind::expert)
      return Verdict::no("slices of fused experts cannot be written back as one tensor; use a packed --format");
    if (!layer.quant.rotation.empty()) return Verdict::no("rotated weights only make sense with their rotation");
    return Verdict::yes();
  }

  [[nodiscard]] TensorMap pack(const LayerRecord& layer, const QuantPlan&, std::string_view) const override {
    return weight_of(layer);
  }

  [[nodiscard]] QuantizedWeight unpack(const LayerPlan& layer, const TensorMap&, const QuantPlan&,
                                       std::string_view) const override {
    throw_unsupported(str("layer '", layer.name, "': the fake format keeps no codes"));
  }

  [[nodiscard]] int64_t packed_bytes(const LayerPlan& layer, std::string_view) const override {
    const int64_t scale = has_global_scale(layer) ? 4 : 0;
    return layer.out_features * (2 * layer.in_features + (layer.has_bias ? 2 : 0)) + scale;
  }

  [[nodiscard]] std::unique_ptr<ExportJob> open(const ExportRequest& request, std::string_view) const override {
    sdk::HfFormat format;
    const at::ScalarType dtype = request.model_dtype;
    format.shapes = [dtype](const LayerPlan& layer) {
      std::vector<sdk::PackedTensorShape> shapes{{std::string(kWeight), dtype, stored_shape(layer)}};
      if (has_global_scale(layer)) shapes.push_back({std::string(kGlobalScale), at::kFloat, {1}});
      return shapes;
    };
    format.pack = [dtype, &source = request.source](const LayerRecord& layer) {
      TensorMap packed = weight_of(layer);
      at::Tensor& weight = packed.at(std::string(kWeight));
      weight = with_signed_zeros(weight.to(dtype), layer.plan, source);
      return packed;
    };
    // Activation quantization is the one thing the weights cannot carry.
    if (request.plan.global.act.quantized()) format.quantization_config = activation_config(request);
    format.quantization_config_file = false;
    return sdk::open_hf_export(request, std::move(format));
  }

 private:
  static json::Object activation_config(const ExportRequest& request) {
    json::Object config = sdk::base_quantization_config(request.plan, request.run);
    config["regex_config"] = json::Object{};
    config["block_name_to_quantize"] = sdk::block_prefixes(request.plan);
    config["quant_method"] = "auto-round";
    config["packing_format"] = "auto_round:fake";
    json::Object extra =
        request.run.model_free ? sdk::model_free_extra_config(request.plan) : sdk::extra_config(request.plan);
    sdk::leave_alone(extra, request);
    if (!extra.empty()) config["extra_config"] = std::move(extra);
    return config;
  }
};

}  // namespace
}  // namespace arkit::fake

ARKIT_PLUGIN("org.arkit.format.fake", "0.1.0", "arkit", "Apache-2.0", "",
             arkit::component<arkit::Exporter, arkit::fake::FakeExporter>(
                 "fake", "full-size weights after quantization and dequantization"));
