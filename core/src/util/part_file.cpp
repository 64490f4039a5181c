#include <arkit/part_file.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <arkit/error.h>
#include <arkit/lost_file.h>
#include <arkit/str.h>

namespace arkit {
namespace fs = std::filesystem;

namespace {

constexpr mode_t kFileMode = 0666;  // the umask takes away what the user does not want
constexpr int64_t kWriteBackBytes = int64_t{1} << 20;

bool full(int error_number) {
  return error_number == ENOSPC || error_number == EDQUOT || error_number == EFBIG;
}

fs::path folder_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

std::string free_space(const fs::path& path) {
  std::error_code ignored;
  const auto space = fs::space(folder_of(path), ignored);
  return ignored ? std::string() : str(" (", space.available / 1000000, " MB are free there)");
}

// A finished file takes the place of what has its name, which must not be a device, a pipe or a folder.
void require_replaceable(const fs::path& path) {
  struct stat state {};
  if (::stat(path.c_str(), &state) == 0 && !S_ISREG(state.st_mode))
    throw_resource(
        str("'", path.string(), "': is not a regular file and cannot be replaced by one; give another name"));
}

// Part files are removed by the one who holds the lock.
std::vector<std::string> remove_part_files(const fs::path& folder) {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(kPartSuffix) && (entry.is_symlink() || entry.is_regular_file())) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  for (const std::string& name : names)
    if (::unlink((folder / name).c_str()) != 0 && errno != ENOENT)
      throw_io(folder / name, "removing what a killed run left", errno);
  return names;
}

}  // namespace

void throw_io(const fs::path& path, std::string_view action, int error_number) {
  const std::string what = str("'", path.string(), "': ", action, " failed: ", std::strerror(error_number));
  if (!full(error_number)) throw_resource(what);
  throw_resource(
      str(what, free_space(path), "; free some space there or choose another place (--output_dir, --output)"));
}

void sync_folder(const fs::path& given) {
  const fs::path folder = given.empty() ? fs::path(".") : given;
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) throw_io(folder, "opening the folder", errno);
  const int result = ::fsync(descriptor);
  const int error_number = errno;
  ::close(descriptor);
  // Some file systems have nothing to do for a folder and say so.
  if (result != 0 && error_number != EINVAL && error_number != ENOTSUP)
    throw_io(folder, "syncing the folder", error_number);
}

PartFile::PartFile(fs::path final_path) : final_path_(std::move(final_path)) {
  require_replaceable(final_path_);
  part_path_ = final_path_;
  part_path_ += kPartSuffix;
  // A link planted under the name of the part must not lead the output elsewhere: what is there goes, and the file is
  // ours or nobody's.
  ::unlink(part_path_.c_str());
  descriptor_ = ::open(part_path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, kFileMode);
  if (descriptor_ < 0) throw_io(part_path_, "creating the file", errno);
}

PartFile::PartFile(PartFile&& other) noexcept
    : final_path_(std::move(other.final_path_)),
      part_path_(std::move(other.part_path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      committed_(std::exchange(other.committed_, true)) {}

PartFile::~PartFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!committed_) ::unlink(part_path_.c_str());
}

void PartFile::reserve(int64_t bytes) {
  int result = 0;
  do result = ::fallocate(descriptor_, 0, 0, bytes);
  while (result != 0 && errno == EINTR);
  if (result == 0) return;
  if (errno != EOPNOTSUPP && errno != ENOSYS) throw_io(part_path_, str("reserving ", bytes, " bytes"), errno);
  if (::ftruncate(descriptor_, bytes) != 0) throw_io(part_path_, "setting the length", errno);
}

void PartFile::write_at(int64_t offset, const void* data, int64_t bytes) {
  const auto* at = static_cast<const char*>(data);
  int64_t done = 0;
  while (done < bytes) {
    const ssize_t n = ::pwrite(descriptor_, at + done, static_cast<size_t>(bytes - done), offset + done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EFAULT) throw_if_mapped(at + done);
    if (n < 0) throw_io(part_path_, "writing", errno);
    if (n == 0) throw_io(part_path_, "writing", ENOSPC);
    done += n;
  }
  // Writing back starts now, beside the work on the next layers, so that sync() has little left to wait for.
  if (bytes >= kWriteBackBytes) ::sync_file_range(descriptor_, offset, bytes, SYNC_FILE_RANGE_WRITE);
}

void PartFile::sync() {
  if (::fsync(descriptor_) != 0) throw_io(part_path_, "syncing", errno);
  const int descriptor = std::exchange(descriptor_, -1);
  if (::close(descriptor) != 0) throw_io(part_path_, "closing", errno);
}

void PartFile::commit() {
  ARKIT_CHECK(descriptor_ < 0, "a part file is committed after sync()");
  if (::rename(part_path_.c_str(), final_path_.c_str()) != 0)
    throw_io(final_path_, "renaming the finished file", errno);
  committed_ = true;
}

void PartFile::publish() {
  sync();
  commit();
  sync_folder(folder_of(final_path_));
}

void write_file(const fs::path& path, std::string_view content) {
  PartFile file(path);
  file.write_at(0, content.data(), static_cast<int64_t>(content.size()));
  file.publish();
}

FolderLock::FolderLock(const fs::path& folder) : path_(folder / file_name()) {
  for (int attempt = 0; attempt < 8; ++attempt) {
    descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, kFileMode);
    inherited_ = descriptor_ < 0 && errno == EEXIST;
    if (inherited_) descriptor_ = ::open(path_.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (descriptor_ < 0 && inherited_ && errno == ENOENT) continue;  // its holder has just finished
    if (descriptor_ < 0) throw_io(path_, "creating the lock file", errno);
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
      const int error_number = errno;
      ::close(descriptor_);
      if (error_number != EWOULDBLOCK) throw_io(path_, "locking the folder", error_number);
      throw_resource(str("'", folder.string(),
                         "': another run is writing into this folder; wait for it or choose another --output_dir"));
    }
    // The previous holder may have removed the file between our open and our lock: then this lock guards nothing.
    struct stat ours {};
    struct stat named {};
    if (::fstat(descriptor_, &ours) == 0 && ::stat(path_.c_str(), &named) == 0 && ours.st_ino == named.st_ino &&
        ours.st_dev == named.st_dev)
      return;
    ::close(descriptor_);
    descriptor_ = -1;
  }
  throw_resource(
      str("'", folder.string(), "': the lock file '", file_name(), "' keeps changing; is another run active?"));
}

FolderLock::~FolderLock() {
  if (descriptor_ < 0) return;
  ::unlink(path_.c_str());  // while the lock is held
  ::close(descriptor_);
}

std::optional<std::vector<std::string>> clear_killed_run(const fs::path& folder) {
  std::error_code error;
  if (!fs::exists(fs::symlink_status(folder / FolderLock::file_name(), error))) return std::nullopt;
  const FolderLock lock(folder);
  if (!lock.inherited()) return std::nullopt;
  return remove_part_files(folder);
}

}  // namespace arkit
