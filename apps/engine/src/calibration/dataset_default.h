#pragma once
// The data set of a run that names none: by what the model is for (share/arkit/datasets/defaults.toml).

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/export.h>
#include <arkit/json.h>

namespace arkit::calibration {

struct DefaultDataset {
  std::string argument;  // as --dataset takes it
  std::string reason;    // why it is not the usual one ("its name speaks of code"); else empty
};

// Names a model goes by: its folder or file (or the hub's, for a folder of the hub's cache), _name_or_path, model_type
// and architectures of config.json.
[[nodiscard]] ARKIT_EXPORT std::vector<std::string> model_names(const std::filesystem::path& path,
                                                                const json::Object& config);
// finetuning_task, task, pipeline_tag and the keys of task_specific_params, lower case.
[[nodiscard]] ARKIT_EXPORT std::vector<std::string> model_tasks(const json::Object& config);

// The first entry that fits. Throws ErrorCode::input for a broken file.
[[nodiscard]] ARKIT_EXPORT DefaultDataset default_dataset(const std::vector<std::string>& names,
                                                          const std::vector<std::string>& tasks, int64_t nsamples);

}  // namespace arkit::calibration
