// "hf": the model itself as a Hugging Face folder.

#include <memory>

#include <arkit/error.h>
#include <arkit/exporter.h>
#include <arkit/plugin.h>
#include <arkit/sdk/hf_export.h>
#include <arkit/str.h>

namespace arkit::hf {
namespace {

constexpr std::string_view kNoLayers =
    "it is the folder of a model of which nothing is rounded, as 'arkit convert' writes it; --format fake writes "
    "rounded "
    "weights in full size";

class HfExporter final : public Exporter {
 public:
  [[nodiscard]] const ExporterInfo& info() const noexcept override {
    static constexpr ExporterInfo kInfo{.name = "hf",
                                        .summary = "the model itself as a Hugging Face folder, of a GGUF file for one",
                                        .quant_method = "",
                                        .plain_models = true};
    return kInfo;
  }

  [[nodiscard]] Verdict supports(const LayerPlan&, std::string_view) const override {
    return Verdict::no(std::string(kNoLayers));
  }
  [[nodiscard]] TensorMap pack(const LayerRecord& layer, const QuantPlan&, std::string_view) const override {
    throw_unsupported(str("layer '", layer.plan.name, "': ", kNoLayers));
  }
  [[nodiscard]] QuantizedWeight unpack(const LayerPlan& layer, const TensorMap&, const QuantPlan&,
                                       std::string_view) const override {
    throw_unsupported(str("layer '", layer.name, "': ", kNoLayers));
  }
  [[nodiscard]] int64_t packed_bytes(const LayerPlan& layer, std::string_view) const override {
    return 2 * layer.out_features * layer.in_features;
  }
  [[nodiscard]] std::unique_ptr<ExportJob> open(const ExportRequest& request, std::string_view) const override {
    return sdk::open_hf_export(request, {});
  }
};

}  // namespace
}  // namespace arkit::hf

ARKIT_PLUGIN("org.arkit.format.hf", "0.1.0", "arkit", "Apache-2.0", "",
             arkit::component<arkit::Exporter, arkit::hf::HfExporter>("hf",
                                                                      "the model itself as a Hugging Face folder"));
