#pragma once
// The staging folder of a run: locked, filled in its folder "new", and gone with everything in it unless it is kept.

#include <filesystem>
#include <memory>
#include <optional>

#include "output/folder_guard.h"

namespace arkit::output {

class PartFolder {
 public:
  // Throws ErrorCode::resource, about `shown` when another run has it.
  PartFolder(std::filesystem::path staging, const std::filesystem::path& shown);

  [[nodiscard]] const std::filesystem::path& staging() const { return staging_; }
  [[nodiscard]] const std::filesystem::path& filled() const { return filled_; }
  void keep() { tree_->keep(); }

 private:
  std::filesystem::path staging_, filled_;
  std::unique_ptr<FolderGuard> guard_;
  std::optional<TemporaryTree> tree_;
};

}  // namespace arkit::output
