#pragma once
// The staging folder of a run: locked, filled in its folder "new", and gone with everything in it unless it is kept.

#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>

#include "output/folder_guard.h"
#include "output/swap_journal.h"

namespace arkit::output {

// Removes what a killed run left there and says how many files it was; nothing where there is no such folder. Throws
// ErrorCode::resource, about `shown`, when a run is at work in it.
std::optional<size_t> clear_part_folder(const std::filesystem::path& staging, const std::filesystem::path& shown);

// A staging folder for what is read while the export is written: ".NAME.shards.arkit-part" beside `folder`, or
// ".shards.arkit-part" inside it where place_of_staging() says so. Exports that use the folder leave it alone.
[[nodiscard]] std::filesystem::path shards_folder(const std::filesystem::path& folder);

// Inside a folder that is there and is a mount of its own, or lies where nothing can be made beside it.
[[nodiscard]] Staging place_of_staging(const std::filesystem::path& folder);

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
