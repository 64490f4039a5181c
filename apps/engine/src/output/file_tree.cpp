#include "output/file_tree.h"

#include <algorithm>
#include <cerrno>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <arkit/error.h>
#include <arkit/part_file.h>

namespace arkit::output {
namespace fs = std::filesystem;

namespace {

constexpr mode_t kModeBits = 07777;

void sync_file(const fs::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (descriptor < 0) throw_io(path, "opening the file", errno);
  const int result = ::fsync(descriptor);
  const int error_number = errno;
  ::close(descriptor);
  if (result != 0 && error_number != EINVAL) throw_io(path, "syncing", error_number);
}

class Linker {
 public:
  Linker(const std::function<bool(const fs::path&)>& wanted, size_t most, std::vector<fs::path>& made)
      : wanted_(wanted), most_(most), made_(made) {}

  // The files of the folder `relative`.
  bool folder(const fs::path& from, const fs::path& to, const fs::path& relative) {
    std::error_code error;
    fs::directory_iterator entries(from / relative, error);
    bool empty = true;
    for (const fs::directory_iterator end; !error && entries != end; entries.increment(error)) {
      empty = false;
      const fs::path name = relative / entries->path().filename();
      const bool is_folder = fs::is_directory(entries->symlink_status(error));
      if (is_folder && !in_one_mount(from, from / name)) return false;
      if (error || !(is_folder ? folder(from, to, name) : file(from, to, name))) return false;
    }
    // A folder that was empty before is somebody's wish.
    return !error && (!empty || relative.empty() || make_folders(from, to, relative));
  }

 private:
  bool file(const fs::path& from, const fs::path& to, const fs::path& name) {
    if (!wanted_(name)) return true;
    struct stat there {};
    if (::lstat((to / name).c_str(), &there) == 0) return true;
    if (made_.size() >= most_ || !make_folders(from, to, name.parent_path())) return false;
    if (::linkat(AT_FDCWD, (from / name).c_str(), AT_FDCWD, (to / name).c_str(), 0) != 0) return false;
    made_.push_back(name);
    return true;
  }

  bool make_folders(const fs::path& from, const fs::path& to, const fs::path& relative) {
    if (relative.empty()) return true;
    struct stat there {};
    if (::lstat((to / relative).c_str(), &there) == 0) return S_ISDIR(there.st_mode);
    struct stat model {};
    if (!make_folders(from, to, relative.parent_path()) || ::lstat((from / relative).c_str(), &model) != 0)
      return false;
    if (model.st_uid != ::geteuid() || ::mkdir((to / relative).c_str(), 0700) != 0) return false;
    made_.push_back(relative);
    return ::chmod((to / relative).c_str(), model.st_mode & kModeBits) == 0;
  }

  const std::function<bool(const fs::path&)>& wanted_;
  size_t most_;
  std::vector<fs::path>& made_;
};

}  // namespace

std::vector<fs::path> files_in(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::recursive_directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    if (!fs::is_directory(it->symlink_status())) files.push_back(it->path().lexically_relative(folder));
  if (error) throw_io(folder, "listing the folder", error.value());
  std::sort(files.begin(), files.end());
  return files;
}

std::vector<fs::path> folders_in(const fs::path& folder) {
  std::vector<fs::path> folders;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    if (fs::is_directory(it->symlink_status())) folders.push_back(it->path());
  if (error) throw_io(folder, "listing the folder", error.value());
  std::sort(folders.begin(), folders.end());
  return folders;
}

bool in_one_mount(const fs::path& a, const fs::path& b) {
  struct statx first {};
  struct statx second {};
  if (::statx(AT_FDCWD, a.c_str(), 0, STATX_MNT_ID, &first) != 0 ||
      ::statx(AT_FDCWD, b.c_str(), 0, STATX_MNT_ID, &second) != 0)
    return false;
  const bool known = (first.stx_mask & second.stx_mask & STATX_MNT_ID) != 0;
  return first.stx_dev_major == second.stx_dev_major && first.stx_dev_minor == second.stx_dev_minor &&
         (!known || first.stx_mnt_id == second.stx_mnt_id);
}

int64_t bytes_of(const fs::path& folder, const std::vector<fs::path>& files) {
  int64_t bytes = 0;
  for (const fs::path& file : files) {
    struct stat state {};
    if (::lstat((folder / file).c_str(), &state) == 0 && S_ISREG(state.st_mode)) bytes += state.st_size;
  }
  return bytes;
}

void sync_tree(const fs::path& folder) {
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const fs::file_status status = it->symlink_status(error);
    if (fs::is_directory(status)) sync_tree(it->path());
    if (fs::is_regular_file(status)) sync_file(it->path());
  }
  if (error) throw_io(folder, "listing the folder", error.value());
  sync_folder(folder);
}

void remove_tree(const fs::path& folder) noexcept {
  std::error_code ignored;
  fs::remove_all(folder, ignored);
}

bool link_tree(const fs::path& from, const fs::path& to, const std::function<bool(const fs::path&)>& wanted,
               size_t most, std::vector<fs::path>& made) {
  return Linker(wanted, most, made).folder(from, to, {});
}

void unlink_made(const fs::path& to, const std::vector<fs::path>& made) noexcept {
  for (auto name = made.rbegin(); name != made.rend(); ++name)
    if (::unlink((to / *name).c_str()) != 0) ::rmdir((to / *name).c_str());
}

}  // namespace arkit::output
