#pragma once
// --low_disk: the shards of a hub's model lie beside the output while they are read, one or two at a time.

#include <filesystem>
#include <memory>
#include <string_view>

#include <arkit/engine/jobs.h>
#include <arkit/json.h>
#include <arkit/log.h>
#include <arkit/model_source.h>
#include <arkit/registry.h>

#include "hub/streamed_model.h"
#include "output/folder_guard.h"
#include "output/part_folder.h"

namespace arkit {

// Throws ErrorCode::usage when AutoScheme, which reads a model more than once, is asked for, too.
void check_low_disk(const QuantizeOptions& options);
// What is said to runs that tune, search, or look at samples.
[[noreturn]] void refuse_low_disk();

// Removes what a killed run left there, and says so. Throws ErrorCode::resource when a run is at work in it.
void clear_shards(const std::filesystem::path& output, Reporter& reporter);

class LowDisk {
 public:
  // `output` is where the export will be.
  LowDisk(hub::ModelTexts model, const std::filesystem::path& output, Reporter& reporter);

  // The model; not to outlive this. Its path is that of its texts in the cache.
  [[nodiscard]] std::unique_ptr<ModelSource> open(const Registry& registry, Reporter& reporter) const;
  [[nodiscard]] const hub::StreamedModel& model() const { return *model_; }

 private:
  output::MadeFolders parents_;
  std::unique_ptr<output::PartFolder> part_;
  std::unique_ptr<hub::StreamedModel> model_;
};

// Null where nothing is saved: without the option, for a model that lies on this disk or in the cache (and says so).
// Removes what a killed run left.
[[nodiscard]] std::unique_ptr<LowDisk> open_low_disk(const QuantizeOptions& options, std::string_view scheme,
                                                     Reporter& reporter);

// `files`, as SourceHashes gives them, with the shards that were downloaded, in the order of names.
[[nodiscard]] json::Array with_shards(json::Array files, const LowDisk* low_disk);

}  // namespace arkit
