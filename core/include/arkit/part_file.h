#pragma once
// Files that appear at their name only when they are complete, and the lock of a folder they are written into.
//
// A file is written as "NAME.part", synced and renamed, so that whoever opens NAME finds all of it or nothing, also
// after a crash. Everything here throws ErrorCode::resource with the path, what failed and, for a full disk, what to
// do.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/export.h>

namespace arkit {

inline constexpr std::string_view kPartSuffix = ".part";

[[noreturn]] ARKIT_EXPORT void throw_io(const std::filesystem::path& path, std::string_view action, int error_number);

// Renames and removals in `folder` (empty = the working directory) reach the disk.
ARKIT_EXPORT void sync_folder(const std::filesystem::path& folder);

class ARKIT_EXPORT PartFile {
 public:
  // Creates "final.part", in place of whatever has that name. Modes follow the umask.
  explicit PartFile(std::filesystem::path final_path);
  ~PartFile();  // an uncommitted part is removed
  PartFile(PartFile&& other) noexcept;
  PartFile& operator=(PartFile&&) = delete;

  // Claims the space of the whole file now, so that a disk too small is found before any work. File systems that cannot
  // do that only get the length set.
  void reserve(int64_t bytes);
  void write_at(int64_t offset, const void* data, int64_t bytes);
  void sync();    // the bytes are on the disk
  void commit();  // the file appears under its name; needs sync() before

  // All of it for a file that stands alone: sync(), commit() and the folder's entry on the disk.
  void publish();

  [[nodiscard]] const std::filesystem::path& final_path() const noexcept { return final_path_; }

 private:
  std::filesystem::path final_path_, part_path_;
  int descriptor_ = -1;
  bool committed_ = false;
};

// A whole text file at once.
ARKIT_EXPORT void write_file(const std::filesystem::path& path, std::string_view content);

// Holds an exclusive lock on a folder through its lock file; the file disappears with the lock, so a lock file that
// nobody holds is the trace of a run that was killed.
class ARKIT_EXPORT FolderLock {
 public:
  // Throws when another process (or job) holds it.
  explicit FolderLock(const std::filesystem::path& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

  [[nodiscard]] bool inherited() const noexcept { return inherited_; }  // from a run that was killed
  [[nodiscard]] static std::string_view file_name() noexcept { return ".arkit.lock"; }

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
  bool inherited_ = false;
};

// Removes the part files and the lock file of a run that was killed in `folder` and returns the names of the part
// files. Without such a lock file nothing is touched: nullopt. Throws when a living run holds the lock.
ARKIT_EXPORT std::optional<std::vector<std::string>> clear_killed_run(const std::filesystem::path& folder);

}  // namespace arkit
