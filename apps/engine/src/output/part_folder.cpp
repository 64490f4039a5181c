#include "output/part_folder.h"

#include <cerrno>
#include <utility>

#include <sys/stat.h>
#include <unistd.h>

#include <arkit/error.h>
#include <arkit/part_file.h>
#include <arkit/str.h>

#include "output/file_tree.h"

namespace arkit::output {

std::optional<size_t> clear_part_folder(const std::filesystem::path& staging, const std::filesystem::path& shown) {
  struct stat state {};
  if (::lstat(staging.c_str(), &state) != 0 || !S_ISDIR(state.st_mode)) return std::nullopt;
  const FolderGuard guard(staging, shown);
  const size_t files = files_in(staging).size();
  remove_tree(staging);
  return files;
}

std::filesystem::path shards_folder(const std::filesystem::path& folder) {
  if (place_of_staging(folder) == Staging::inside) return staging_folder(folder / "shards", Staging::beside);
  return staging_folder(folder.parent_path() / (folder.filename().string() + ".shards"), Staging::beside);
}

Staging place_of_staging(const std::filesystem::path& folder) {
  const std::filesystem::path above = folder.parent_path();
  struct stat state {};
  const bool is_there = ::lstat(folder.c_str(), &state) == 0 && S_ISDIR(state.st_mode);
  const bool beside = folder.has_filename() &&
                      (!is_there || (in_one_mount(folder, above) && ::access(above.c_str(), W_OK | X_OK) == 0));
  return beside ? Staging::beside : Staging::inside;
}

PartFolder::PartFolder(std::filesystem::path staging, const std::filesystem::path& shown)
    : staging_(std::move(staging)), filled_(staging_ / "new") {
  for (int attempt = 0; attempt < kLockAttempts; ++attempt) {
    if (::mkdir(staging_.c_str(), 0700) != 0 && errno != EEXIST) throw_io(staging_, "creating the folder", errno);
    guard_ = std::make_unique<FolderGuard>(staging_, shown);
    if (guard_->names(staging_)) break;  // else a run that has just ended took it away
    guard_.reset();
  }
  if (!guard_) throw_resource(str("'", staging_.string(), "' keeps changing; is another run active?"));
  tree_.emplace(staging_);
  if (::mkdir(filled_.c_str(), 0777) != 0) throw_io(filled_, "creating the folder", errno);
}

}  // namespace arkit::output
