#pragma once
// Runs an exporter the way a quantize job does, on a tiny golden source: a plan built from a GoldenCase,
// round-to-nearest codes by the formulas of docs/spec/rtn.md 1, one LayerRecord per layer.

#include <filesystem>
#include <memory>

#include <arkit/exporter.h>
#include <arkit/registry.h>

#include "formats/golden_cases.h"

namespace arkit::test {

// The format plugins of this build, loaded once.
[[nodiscard]] const Registry& format_plugins();

// By a name of --format, variants included.
[[nodiscard]] const Exporter& exporter_named(const std::string& format);

// The one reader that claims a folder.
[[nodiscard]] const ModelReader& reader_for(const std::filesystem::path& folder);

// Codes, scale and zero point of W [out, in] in bf16.
[[nodiscard]] QuantizedWeight round_to_nearest(const at::Tensor& weight, const TensorQuant& quant);
[[nodiscard]] at::Tensor dequantized(const QuantizedWeight& weight, const TensorQuant& quant, at::ScalarType dtype);

[[nodiscard]] QuantPlan plan_of(const ModelSource& source, const GoldenCase& golden);

// The layers of `plan` from `source` into `job`, in plan order. `stop_before` ends early, like a run that fails.
void add_layers(ExportJob& job, const ModelSource& source, const QuantPlan& plan, size_t stop_before = SIZE_MAX);

// Everything at once; the folder is created.
ExportReport export_case(const GoldenCase& golden, const std::filesystem::path& output);

// A folder below the test's temporary folder that is empty and removed with the object.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(const std::string& name);
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace arkit::test
