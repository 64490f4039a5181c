#pragma once
// Did anybody change the model while it was read? Weights are read layer by layer over hours: an export of a model that
// was overwritten meanwhile is neither the old model nor the new one.

#include <cstdint>
#include <filesystem>
#include <vector>

#include <arkit/export.h>
#include <arkit/model_source.h>

namespace arkit {

class ARKIT_INTERNAL SourceState {
 public:
  SourceState() = default;
  // `weights` and the texts of the source as they are now.
  SourceState(const ModelSource& source, const std::vector<std::filesystem::path>& weights);

  // Throws ErrorCode::input when a file is another one now, has another size or was written to.
  void require_unchanged() const;

 private:
  struct File {
    std::filesystem::path path;
    uint64_t device = 0, inode = 0;
    int64_t bytes = 0, seconds = 0, nanoseconds = 0;  // of the last change
    bool operator==(const File&) const = default;
  };
  static File look_at(const std::filesystem::path& path);

  std::vector<File> files_;
};

}  // namespace arkit
