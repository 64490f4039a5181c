#pragma once
// From the name of a model on a hub to a folder on this disk.

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <arkit/export.h>
#include <arkit/log.h>

#include "hub/model_outline.h"
#include "hub/repo_names.h"

namespace arkit::hub {

struct ModelPlace {
  std::filesystem::path path;  // folder of the snapshot, or the GGUF file in it
  ModelName name;
  std::string commit;
};

// Where the model is, after downloading what the cache lacks (model_files.h). What the cache has whole is not asked for
// again: a branch stays at the commit it had. Within a process a name stays at one commit. Throws as Hub says.
[[nodiscard]] ARKIT_INTERNAL ModelPlace fetch_model(const ModelName& name, Reporter& reporter);

// The model before its weights are fetched: its texts are, and fetch_model() takes the same commit. Null where there is
// nothing to be spared or to be had: the weights are here, the hub may not be asked, it gives no ranges, or the model is
// one file with all its texts in it. Throws as fetch_model() does.
[[nodiscard]] ARKIT_INTERNAL std::unique_ptr<ModelOutline> outline_model(const ModelName& name, Reporter& reporter);

// Its config.json in the cache; nothing else is fetched.
[[nodiscard]] ARKIT_INTERNAL std::filesystem::path fetch_config(const ModelName& name, Reporter& reporter);

// The place of a model that this process has fetched; nothing for any other name.
[[nodiscard]] ARKIT_INTERNAL std::optional<ModelPlace> fetched_model(std::string_view name);

}  // namespace arkit::hub
