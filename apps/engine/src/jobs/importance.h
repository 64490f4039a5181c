#pragma once
// The importance matrix of a run: read from a file (--imatrix) instead of measured, or measured and kept
// (--save_imatrix). docs/CALIBRATION.md.

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include <arkit/engine/jobs.h>
#include <arkit/exporter.h>
#include <arkit/importance_files.h>
#include <arkit/json.h>
#include <arkit/log.h>
#include <arkit/registry.h>

#include "tuning/sample_needs.h"

namespace arkit {

// A matrix from a file, as the layers of a plan use it.
struct GivenImportance {
  ImportanceMatrix matrix;
  std::map<std::string, at::Tensor, std::less<>> by_layer;  // f32 [in]: the mean of x^2
  ImportanceRecord record;

  // Undefined for a layer that the file does not have.
  [[nodiscard]] at::Tensor of(std::string_view layer) const;
  [[nodiscard]] json::Object describe() const;  // for arkit-run.json
};

// A matrix by layer, as rounding asks for it; null for null.
[[nodiscard]] std::function<at::Tensor(std::string_view)> importance_of(const GivenImportance* given);

// The file that options.imatrix names, and what formats record of it.
[[nodiscard]] ImportanceMatrix importance_matrix(const QuantizeOptions& options, const json::Object& config,
                                                 const Registry& registry);
[[nodiscard]] ImportanceRecord importance_record(const QuantizeOptions& options, const ImportanceMatrix& matrix);

// options.imatrix, held to a plan: who uses it, and whether it belongs to this model. Throws ErrorCode::usage where no
// layer of the plan looks at importance, ErrorCode::input for a file that cannot be read or is of another model.
[[nodiscard]] std::shared_ptr<const GivenImportance> read_importance(const QuantizeOptions& options,
                                                                     const QuantPlan& plan, const json::Object& config,
                                                                     const RoundingStyle& style,
                                                                     const Registry& registry, Reporter& reporter);

// Does the run take samples for options.save_imatrix, whatever else needs them?
[[nodiscard]] bool measures_for_file(const QuantizeOptions& options);

// May options.save_imatrix be written when the run is over? Throws ErrorCode::usage or ErrorCode::unsupported.
void check_saving(const QuantizeOptions& options, const json::Object& config, const Registry& registry);

// What a run measures, layer by layer.
class GatheredImportance {
 public:
  // `sums` as InputStatistics::imatrix; undefined (no token came) = no entry.
  void add(const std::string& layer, const at::Tensor& sums, int64_t tokens);
  // `calibration`: the report of the samples.
  [[nodiscard]] ImportanceMatrix matrix(const json::Object& calibration) const;

 private:
  std::vector<ImportanceEntry> entries_;
};

// The whole file or nothing.
void save_importance(const ImportanceMatrix& matrix, const std::filesystem::path& path, const json::Object& config,
                     const Registry& registry, Reporter& reporter);

}  // namespace arkit
