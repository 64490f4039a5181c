#pragma once
// The writing half: one .gguf file a run (docs/spec/gguf-writing.md 1).

#include <arkit/exporter.h>
#include <arkit/free_mix.h>

namespace arkit::gguf {

class GgufExporter final : public Exporter, public FreeMix {
 public:
  [[nodiscard]] const ExporterInfo& info() const noexcept override;
  [[nodiscard]] std::span<const std::string_view> variants() const override;
  [[nodiscard]] std::string_view implied_scheme(std::string_view variant) const override;
  [[nodiscard]] Refinement refine(const RefineRequest& request, std::string_view variant) const override;
  [[nodiscard]] LayerQuant fitting(const LayerPlan& layer, std::string_view variant) const override;
  [[nodiscard]] int64_t file_bytes(const ModelSource& source, const QuantPlan& plan,
                                   std::string_view variant) const override;
  [[nodiscard]] Verdict supports(const LayerPlan& layer, std::string_view variant) const override;
  [[nodiscard]] Verdict supports_source(const ModelSource& source, const QuantPlan& plan,
                                        std::string_view variant) const override;
  // "weight" U8 [out, bytes of a row], in the order of the layer's rows.
  [[nodiscard]] TensorMap pack(const LayerRecord& layer, const QuantPlan& plan,
                               std::string_view variant) const override;
  [[nodiscard]] QuantizedWeight unpack(const LayerPlan& layer, const TensorMap& packed, const QuantPlan& plan,
                                       std::string_view variant) const override;
  [[nodiscard]] int64_t packed_bytes(const LayerPlan& layer, std::string_view variant) const override;
  [[nodiscard]] std::unique_ptr<ExportJob> open(const ExportRequest& request, std::string_view variant) const override;
};

}  // namespace arkit::gguf
