// "plain_codes": one byte a code, see README.md. Integer weights of at most 8 bits.

#include <ATen/ATen.h>

#include <arkit/exporter.h>
#include <arkit/plugin.h>
#include <arkit/sdk/hf_export.h>
#include <arkit/str.h>

namespace {

class PlainCodes final : public arkit::Exporter {
 public:
  [[nodiscard]] const arkit::ExporterInfo& info() const noexcept override {
    static constexpr arkit::ExporterInfo kInfo{
        .name = "plain_codes", .summary = "one byte a code, for reading by hand", .quant_method = "plain_codes"};
    return kInfo;
  }

  [[nodiscard]] arkit::Verdict supports(const arkit::LayerPlan& layer, std::string_view) const override {
    const arkit::TensorQuant& weight = layer.quant.weight;
    if (weight.data_type != "int")
      return arkit::Verdict::no(arkit::str("plain_codes holds data type int, not ", weight.data_type));
    if (weight.bits > 8) return arkit::Verdict::no(arkit::str("plain_codes holds at most 8 bits, not ", weight.bits));
    if (weight.block_rows > 0 || weight.group_size == 0)
      return arkit::Verdict::no("plain_codes needs groups along in_features; choose a group_size > 0 or -1");
    return arkit::Verdict::yes();
  }

  [[nodiscard]] arkit::TensorMap pack(const arkit::LayerRecord& layer, const arkit::QuantPlan&,
                                      std::string_view) const override {
    return pack_layer(layer);
  }

  [[nodiscard]] arkit::QuantizedWeight unpack(const arkit::LayerPlan&, const arkit::TensorMap& packed,
                                              const arkit::QuantPlan&, std::string_view) const override {
    arkit::QuantizedWeight weight;
    weight.codes = packed.at("codes");
    weight.scale = packed.at("scale");
    weight.zero_point = packed.at("zero_point").to(at::kFloat);
    return weight;
  }

  [[nodiscard]] int64_t packed_bytes(const arkit::LayerPlan& layer, std::string_view) const override {
    return layer.out_features * (layer.in_features + groups(layer) * 3);
  }

  [[nodiscard]] std::unique_ptr<arkit::ExportJob> open(const arkit::ExportRequest& request,
                                                       std::string_view) const override {
    const arkit::TensorQuant& weight = request.plan.global.weight;
    arkit::sdk::HfFormat format;
    format.shapes = [](const arkit::LayerPlan& layer) {
      return std::vector<arkit::sdk::PackedTensorShape>{{"codes", at::kByte, {layer.out_features, layer.in_features}},
                                                        {"scale", at::kHalf, {layer.out_features, groups(layer)}},
                                                        {"zero_point", at::kByte, {layer.out_features, groups(layer)}}};
    };
    format.pack = pack_layer;
    format.quantization_config = {
        {"quant_method", "plain_codes"}, {"bits", weight.bits}, {"group_size", weight.group_size}, {"sym", weight.sym}};
    return arkit::sdk::open_hf_export(request, std::move(format));
  }

 private:
  static int64_t groups(const arkit::LayerPlan& layer) {
    const int64_t size = layer.quant.weight.group_size;
    return size < 0 || layer.in_features < size ? 1 : (layer.in_features + size - 1) / size;
  }

  // A symmetric scheme has no zero point of its own: the middle of the code range stands for 0.
  static arkit::TensorMap pack_layer(const arkit::LayerRecord& layer) {
    const arkit::QuantizedWeight& weight = layer.quantized;
    const at::Tensor middle = at::full_like(weight.scale, 1 << (layer.plan.quant.weight.bits - 1));
    arkit::TensorMap packed;
    packed.emplace("codes", weight.codes.contiguous());
    packed.emplace("scale", weight.scale.to(at::kHalf).contiguous());
    packed.emplace("zero_point", (weight.zero_point.defined() ? weight.zero_point : middle).to(at::kByte).contiguous());
    return packed;
  }
};

}  // namespace

ARKIT_PLUGIN("org.example.plain_codes", "0.1.0", "Example", "Apache-2.0", "",
             arkit::component<arkit::Exporter, PlainCodes>("plain_codes", "one byte a code, for reading by hand"));
