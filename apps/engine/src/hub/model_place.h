#pragma once
// From the name of a model on a hub to a folder on this disk.

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/export.h>
#include <arkit/log.h>

#include "hub/hub.h"
#include "hub/model_outline.h"
#include "hub/repo_names.h"

namespace arkit::hub {

struct ModelPlace {
  std::filesystem::path path;  // folder of the snapshot, or the GGUF file in it
  ModelName name;
  std::string commit;
  bool whole = true;  // false: its texts alone
};

// Where the model is, after downloading what the cache lacks (model_files.h). What the cache has whole is not asked for
// again: a branch stays at the commit it had. Within a process a name stays at one commit. Throws as Hub says, and
// ErrorCode::input for a snapshot with links that lead out of the cache.
[[nodiscard]] ARKIT_INTERNAL ModelPlace fetch_model(const ModelName& name, Reporter& reporter);

// A model of which the texts are fetched.
struct ModelTexts {
  std::unique_ptr<Hub> hub;
  Snapshot snapshot;
  std::filesystem::path folder;  // of the snapshot in the cache
  std::vector<std::string> texts;
  std::vector<Entry> weights;  // what is to be fetched besides
};
// Nothing where the cache has the model as a whole. Throws as fetch_model(). fetched_model() knows the name afterwards.
[[nodiscard]] ARKIT_INTERNAL std::optional<ModelTexts> fetch_texts(const ModelName& name, Reporter& reporter);

// The model before its weights are fetched: its texts are, and fetch_model() takes the same commit. Null where there is
// nothing to be spared or to be had: the weights are here, the hub may not be asked, it gives no ranges, or the model is
// one file with all its texts in it. Throws as fetch_model() does.
[[nodiscard]] ARKIT_INTERNAL std::unique_ptr<ModelOutline> outline_model(const ModelName& name, Reporter& reporter);

// Its config.json in the cache; nothing else is fetched.
[[nodiscard]] ARKIT_INTERNAL std::filesystem::path fetch_config(const ModelName& name, Reporter& reporter);

// The place of a model that this process has fetched, or of which it has the texts; nothing for any other name.
[[nodiscard]] ARKIT_INTERNAL std::optional<ModelPlace> fetched_model(std::string_view name);

// SHA-256 by path in the repository, as the hub lists them: of large files, weights among them. Empty where the cache
// has no list.
[[nodiscard]] ARKIT_INTERNAL std::map<std::string, std::string> listed_hashes(const ModelPlace& place);

}  // namespace arkit::hub
