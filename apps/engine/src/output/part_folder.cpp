#include "output/part_folder.h"

#include <cerrno>
#include <utility>

#include <sys/stat.h>

#include <arkit/error.h>
#include <arkit/part_file.h>
#include <arkit/str.h>

namespace arkit::output {

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
