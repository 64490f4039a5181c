#include "output/folder_guard.h"

#include <cerrno>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <arkit/error.h>
#include <arkit/str.h>

#include "output/file_tree.h"

namespace arkit::output {
namespace fs = std::filesystem;

FolderGuard::FolderGuard(const fs::path& folder, const fs::path& shown, Hold hold) {
  const bool shared = hold == Hold::shared;
  descriptor_ = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  if (descriptor_ < 0 && shared) return;  // a folder that only lets through has no run of several formats in it
  if (descriptor_ < 0) throw_io(folder, "opening the folder", errno);
  if (::flock(descriptor_, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB) == 0) return;
  const int error_number = errno;
  ::close(descriptor_);
  descriptor_ = -1;
  if (error_number == EWOULDBLOCK)
    throw_resource(str("'", shown.string(),
                       "': another run is writing into this folder; wait for it or choose another --output_dir"));
  if (!shared) file_ = std::make_unique<FolderLock>(folder);
}

FolderGuard::~FolderGuard() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

bool FolderGuard::names(const fs::path& folder) const {
  struct stat ours {};
  struct stat named {};
  return descriptor_ < 0 || (::fstat(descriptor_, &ours) == 0 && ::lstat(folder.c_str(), &named) == 0 &&
                             ours.st_ino == named.st_ino && ours.st_dev == named.st_dev);
}

MadeFolders::MadeFolders(const fs::path& folder) {
  std::error_code error;
  for (fs::path missing = folder; !missing.empty() && !fs::exists(missing, error); missing = missing.parent_path())
    made_.insert(made_.begin(), missing);
  fs::create_directories(folder, error);
  if (!error) return;
  remove();
  throw_resource(str("output_dir: '", folder.string(), "' cannot be made (", error.message(), ")"));
}

MadeFolders::~MadeFolders() {
  remove();
}

TemporaryTree::~TemporaryTree() {
  if (!folder_.empty()) remove_tree(folder_);
}

void MadeFolders::remove() noexcept {
  for (auto folder = made_.rbegin(); folder != made_.rend(); ++folder) ::rmdir(folder->c_str());
}

}  // namespace arkit::output
