#pragma once
// What a conversion knows of the run that made its export, and what it leaves beside its own: arkit-run.json and the
// model card.

#include <string>

#include <arkit/engine/jobs.h>
#include <arkit/exporter.h>
#include <arkit/json.h>
#include <arkit/registry.h>

namespace arkit {

// Settings of the run behind an export, as far as it records them, for formats that record them again.
[[nodiscard]] RunRecord recorded_run(const ModelSource& source);

// The dtype the model is in: of its 16-bit tensors, else what config.json declares.
[[nodiscard]] at::ScalarType model_dtype_of(const ModelSource& shown);

struct Conversion {
  const ConvertOptions& options;
  const ModelSource& source;
  const QuantPlan& plan;
  std::string format;
  const ExportReport& report;
  json::Array source_files;  // name, bytes, sha256
  json::Object proof;
  double seconds = 0.0;
  int64_t peak_rss_bytes = 0;
};

// The record of the source's run where it has one, so that `arkit verify` still finds the model everything was made
// from, with the members of this export in place of the source's and "converted_from".
[[nodiscard]] json::Object conversion_record(const Conversion& conversion, const Registry& registry);
[[nodiscard]] std::string conversion_card(const Conversion& conversion);

}  // namespace arkit
