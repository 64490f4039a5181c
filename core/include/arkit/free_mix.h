#pragma once
// A second face of an Exporter whose files may have another number format in every tensor, tables of embeddings and the
// head included, and whose readers fuse no layers: AutoScheme decides on all of them, each for itself.

#include <cstdint>
#include <string_view>

#include <arkit/descriptors.h>
#include <arkit/export.h>
#include <arkit/source_check.h>

namespace arkit {

struct ExportRequest;

class ARKIT_EXPORT FreeMix : public SourceCheck {
 public:
  ~FreeMix() override;
  // What a layer gets that was to have layer.quant: the same, another number format where the layer's shape does not
  // take that one, or one of 16 bits where none fits.
  [[nodiscard]] virtual LayerQuant fitting(const LayerPlan& layer, std::string_view variant) const = 0;
  // Bytes of the files that a job of this request writes, to the last one, without what a run writes beside them (card,
  // record). Of sources that supports_source() said yes to; request.output_dir is not looked at.
  [[nodiscard]] virtual int64_t file_bytes(const ExportRequest& request, std::string_view variant) const = 0;
};

}  // namespace arkit
