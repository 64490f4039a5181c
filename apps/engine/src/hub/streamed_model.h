#pragma once
// A model of a hub that is never on this disk as a whole: --low_disk. Its shards come one by one, when a tensor of them
// is read, and go again.

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <arkit/export.h>
#include <arkit/log.h>

#include "hub/model_place.h"

namespace arkit::hub {

class StreamedModel {
 public:
  static constexpr int kMostShards = 2;  // the layers of a block may lie in two

  struct File {
    std::string name;
    int64_t bytes = 0;
    std::string sha256;
  };

  // Reads the headers of the shards. Fills `folder`, which is empty and stays the caller's to remove: it looks like the
  // model, with links to what the cache has and the headers of all other shards.
  // A shard is downloaded into its file there when one of its tensors is loaded, checked, and cut down to its header when
  // others are needed and nobody holds a tensor of it: at most kMostShards are there as long as nobody holds tensors of
  // more. A download that failed is not tried again.
  // Throws as Hub says; ErrorCode::unsupported for a model that is no safetensors, or of whose shards the hub
  // tells no SHA-256. `reporter` outlives it; sources opened from `folder` do not.
  ARKIT_INTERNAL StreamedModel(ModelTexts model, std::filesystem::path folder, Reporter& reporter);
  ARKIT_INTERNAL ~StreamedModel();
  StreamedModel(const StreamedModel&) = delete;
  StreamedModel& operator=(const StreamedModel&) = delete;

  // The snapshot in the cache: texts, and no shard but those that were there.
  [[nodiscard]] const std::filesystem::path& texts() const;
  // Is it a shard that is downloaded? Those of the cache are not.
  [[nodiscard]] bool brings(const std::string& name) const;
  // Those that were downloaded and checked so far, in the order of names.
  [[nodiscard]] std::vector<File> checked() const;
  // Bytes that `folder` may still grow by.
  [[nodiscard]] int64_t bytes_to_come() const;

 private:
  class Shards;
  std::shared_ptr<Shards> shards_;
  std::vector<std::filesystem::path> late_;  // as they are known to core
};

}  // namespace arkit::hub
