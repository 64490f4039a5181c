#pragma once
// How large an export will be, all files together, before anything is written: what --target-size is held to.

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <c10/core/ScalarType.h>

#include <arkit/descriptors.h>
#include <arkit/exporter.h>
#include <arkit/free_mix.h>
#include <arkit/model_source.h>
#include <arkit/registry.h>

#include "jobs/export_set.h"

namespace arkit {

// Sizes of one source in one format. Keeps what it learned about a scheme's tensors from plan to plan. All references
// outlive it.
class ExportSizer {
 public:
  // `run`: as far as it changes what files that are counted to the byte say.
  ExportSizer(const FormatChoice& format, const ModelSource& source, const Registry& registry, int64_t max_shard_bytes,
              RunRecord run)
      : format_(format),
        source_(source),
        registry_(registry),
        max_shard_bytes_(max_shard_bytes),
        run_(std::move(run)) {}

  // What the format says its files take (FreeMix::file_bytes), to the byte. Where it does not say: bytes of weights
  // (planned_bytes), safetensors headers and index, configuration, the source's companions, README.md and
  // arkit-run.json; `record_bytes` = what the latter says beyond the plan itself. That is an upper bound: texts are
  // counted generously, which is some 100 bytes a layer.
  [[nodiscard]] int64_t bound(const QuantPlan& plan, int64_t record_bytes);

 private:
  struct StoredTensor {
    std::string suffix;
    at::ScalarType dtype = at::ScalarType::Undefined;
    int64_t dims = 0;
  };
  // The packed tensors of a layer, asked of the exporter with a few rows of zeros.
  const std::vector<StoredTensor>& tensors_of(const LayerPlan& layer, const QuantPlan& plan);
  int64_t header_bytes(const QuantPlan& plan, int64_t weights);
  [[nodiscard]] int64_t text_bytes(const QuantPlan& plan) const;
  [[nodiscard]] int64_t exact_bytes(const FreeMix& format, const QuantPlan& plan);

  const FormatChoice& format_;
  const ModelSource& source_;
  const Registry& registry_;
  int64_t max_shard_bytes_;
  RunRecord run_;
  std::map<std::string, std::vector<StoredTensor>> known_;  // by shape and scheme
  std::map<std::string, int64_t> exact_;                    // bytes of files, by the schemes of all layers
};

}  // namespace arkit
