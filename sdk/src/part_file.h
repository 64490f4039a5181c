#pragma once
// A file that appears at its name only when it is complete: it is written as "NAME.part" and renamed by commit().

#include <cstdint>
#include <filesystem>
#include <string>

namespace arkit::sdk {

inline constexpr const char* kPartSuffix = ".part";

// Throws ErrorCode::resource with the path, what failed and, for a full disk, what to do.
[[noreturn]] void throw_io(const std::filesystem::path& path, const char* action, int error_number);

// Renames and removals in `folder` reach the disk.
void sync_folder(const std::filesystem::path& folder);

class PartFile {
 public:
  // Creates (or empties) "final.part". Modes follow the umask.
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

  [[nodiscard]] const std::filesystem::path& final_path() const noexcept { return final_path_; }

 private:
  std::filesystem::path final_path_, part_path_;
  int descriptor_ = -1;
  bool committed_ = false;
};

// Holds an exclusive lock on a folder through its lock file; the file disappears with the lock.
class FolderLock {
 public:
  // Throws ErrorCode::resource when another process (or job) holds it.
  explicit FolderLock(const std::filesystem::path& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

  [[nodiscard]] static const char* file_name() noexcept { return ".arkit.lock"; }

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
};

}  // namespace arkit::sdk
