#pragma once
// Exports made for these tests, and folders whose tensors and configuration are changed by hand.

#include <filesystem>
#include <functional>
#include <string>

#include <arkit/engine/jobs.h>
#include <arkit/engine/resident_jobs.h>
#include <arkit/json.h>
#include <arkit/model_source.h>

#include "jobs/job_testing.h"

namespace arkit::testing {

// A model folder in memory: all tensors by name and the configuration.
struct Folder {
  TensorMap tensors;
  json::Object config;

  explicit Folder(const std::filesystem::path& from);
  // Writes both into `to`; other files of `from` come along. One file of weights.
  void write(const std::filesystem::path& to) const;

 private:
  std::filesystem::path from_;
};

using Edit = std::function<void(Folder& folder)>;
using Tweak = std::function<void(QuantizeOptions& options)>;

// Plain rounding of `model` to 4 bits in groups of 32, unless `tweak` says otherwise.
void export_model(const std::filesystem::path& model, const std::filesystem::path& to, const Tweak& tweak);

[[nodiscard]] json::Object verified(const std::filesystem::path& folder, const std::string& against = {});
// Names of the checks that failed, each with what it said: "name: detail\n".
[[nodiscard]] std::string failures(const json::Object& report);

}  // namespace arkit::testing
