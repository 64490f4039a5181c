// Raw codes in a Hugging Face folder: one byte a code (README.md has the layout).
#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/exporter.h>
#include <arkit/plugin.h>
#include <arkit/sdk/group.h>
#include <arkit/sdk/hf_export.h>
#include <arkit/str.h>

namespace {

using arkit::LayerPlan;
using arkit::LayerRecord;
using arkit::QuantizedWeight;
using arkit::QuantPlan;
using arkit::TensorMap;

TensorMap packed_tensors(const LayerRecord& layer) {
  TensorMap packed{{"codes", layer.quantized.codes.to(at::kByte).contiguous()},
                   {"scale", layer.quantized.scale.to(at::kHalf).contiguous()}};
  if (layer.quantized.zero_point.defined())
    packed["zero_point"] = layer.quantized.zero_point.to(at::kFloat).contiguous();
  return packed;
}

std::vector<arkit::sdk::PackedTensorShape> packed_shapes(const LayerPlan& layer) {
  const auto groups = arkit::sdk::group_shape(layer.out_features, layer.in_features, layer.quant.weight.group_size);
  std::vector<arkit::sdk::PackedTensorShape> shapes{{"codes", at::kByte, {groups.out, groups.in}},
                                                    {"scale", at::kHalf, {groups.out, groups.per_row}}};
  if (!layer.quant.weight.sym) shapes.push_back({"zero_point", at::kFloat, {groups.out, groups.per_row}});
  return shapes;
}

class SamplePluginExporter final : public arkit::Exporter {
 public:
  const arkit::ExporterInfo& info() const noexcept override {
    static constexpr arkit::ExporterInfo kInfo{
        .name = "sample_plugin", .summary = "raw codes, one byte each", .quant_method = "sample_plugin"};
    return kInfo;
  }

  arkit::Verdict supports(const LayerPlan& layer, std::string_view) const override {
    const arkit::TensorQuant& quant = layer.quant.weight;
    if (quant.data_type != "int")
      return arkit::Verdict::no(arkit::str("sample_plugin stores integer codes, not ", quant.data_type));
    if (quant.bits > 8) return arkit::Verdict::no(arkit::str("a code has one byte, ", quant.bits, " bits do not fit"));
    if (quant.group_size == 0) return arkit::Verdict::no("sample_plugin stores one scale a group; choose --group_size");
    if (layer.quant.act.quantized()) return arkit::Verdict::no("sample_plugin does not record activation quantization");
    return arkit::Verdict::yes();
  }

  TensorMap pack(const LayerRecord& layer, const QuantPlan&, std::string_view) const override {
    return packed_tensors(layer);
  }

  QuantizedWeight unpack(const LayerPlan& layer, const TensorMap& packed, const QuantPlan&,
                         std::string_view) const override {
    QuantizedWeight weight;
    for (const auto& [suffix, dtype, shape] : packed_shapes(layer)) {
      const auto found = packed.find(suffix);
      if (found == packed.end() || found->second.scalar_type() != dtype ||
          found->second.sizes() != at::IntArrayRef(shape))
        arkit::throw_input(arkit::str("layer '", layer.name, "': tensor '", suffix,
                                      "' is missing or of another type or "
                                      "shape; was it written by sample_plugin?"));
      (suffix == "codes" ? weight.codes : suffix == "scale" ? weight.scale : weight.zero_point) = found->second;
    }
    return weight;
  }

  int64_t packed_bytes(const LayerPlan& layer, std::string_view) const override {
    int64_t bytes = 0;
    for (const auto& [suffix, dtype, shape] : packed_shapes(layer))
      bytes += shape[0] * shape[1] * static_cast<int64_t>(c10::elementSize(dtype));
    return bytes;
  }

  std::unique_ptr<arkit::ExportJob> open(const arkit::ExportRequest& request, std::string_view) const override {
    const arkit::TensorQuant& quant = request.plan.global.weight;
    arkit::sdk::HfFormat format;
    format.shapes = packed_shapes;
    format.pack = packed_tensors;
    format.quantization_config = {
        {"quant_method", "sample_plugin"}, {"bits", quant.bits}, {"group_size", quant.group_size}, {"sym", quant.sym}};
    return arkit::sdk::open_hf_export(request, std::move(format));
  }
};

}  // namespace

ARKIT_PLUGIN("org.example.sample_plugin", "0.1.0", "Example", "Apache-2.0", "https://example.org",
             arkit::component<arkit::Exporter, SamplePluginExporter>("sample_plugin", "raw codes, one byte each"));
