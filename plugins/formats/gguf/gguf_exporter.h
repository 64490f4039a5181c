#pragma once
// The writing half: a .gguf file a run, or its parts (docs/spec/gguf-writing.md 1).

#include <memory>

#include <arkit/exporter.h>
#include <arkit/exporter_options.h>
#include <arkit/free_mix.h>

#include "gguf_options.h"

namespace arkit::gguf {

class GgufExporter final : public Exporter, public FreeMix, public ExporterOptions {
 public:
  GgufExporter();
  explicit GgufExporter(FileOptions options);

  [[nodiscard]] const ExporterInfo& info() const noexcept override;
  [[nodiscard]] std::span<const std::string_view> variants() const override;
  [[nodiscard]] std::string_view implied_scheme(std::string_view variant) const override;
  [[nodiscard]] Refinement refine(const RefineRequest& request, std::string_view variant) const override;
  [[nodiscard]] LayerQuant fitting(const LayerPlan& layer, std::string_view variant) const override;
  [[nodiscard]] int64_t file_bytes(const ExportRequest& request, std::string_view variant) const override;
  [[nodiscard]] Verdict supports(const LayerPlan& layer, std::string_view variant) const override;
  [[nodiscard]] Verdict supports_source(const ModelSource& source, const QuantPlan& plan,
                                        std::string_view variant) const override;
  // "weight" U8 [out, bytes of a row], in the order of the layer's rows; of NVFP4 also "scale" F32 [1].
  [[nodiscard]] TensorMap pack(const LayerRecord& layer, const QuantPlan& plan,
                               std::string_view variant) const override;
  [[nodiscard]] QuantizedWeight unpack(const LayerPlan& layer, const TensorMap& packed, const QuantPlan& plan,
                                       std::string_view variant) const override;
  [[nodiscard]] int64_t packed_bytes(const LayerPlan& layer, std::string_view variant) const override;
  [[nodiscard]] std::unique_ptr<ExportJob> open(const ExportRequest& request, std::string_view variant) const override;
  [[nodiscard]] std::span<const std::string_view> option_names() const override;
  [[nodiscard]] std::shared_ptr<Exporter> with(const FormatWords& given) const override;

 private:
  std::shared_ptr<const FileOptions> options_;  // jobs have them, too
};

}  // namespace arkit::gguf
