#pragma once
// One run at a time in a folder, and folders that go again when a run comes to nothing.

#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

#include <arkit/part_file.h>

namespace arkit::output {

inline constexpr int kLockAttempts = 8;  // at a folder that is exchanged between two looks

// shared = runs that write into folders of it, none of which may take it all.
enum class Hold { alone, shared };

// The folder itself is locked, no file in it: a killed run leaves no trace of its lock. Where the file system locks no
// folders (NFS), FolderLock's file does it; a shared hold does without.
class FolderGuard {
 public:
  // Throws ErrorCode::resource about `shown` when another run holds it.
  FolderGuard(const std::filesystem::path& folder, const std::filesystem::path& shown, Hold hold = Hold::alone);
  ~FolderGuard();
  FolderGuard(const FolderGuard&) = delete;
  FolderGuard& operator=(const FolderGuard&) = delete;

  // Does `folder` still name what is locked?
  [[nodiscard]] bool names(const std::filesystem::path& folder) const;
  [[nodiscard]] bool is_a_file() const { return file_ != nullptr; }

 private:
  int descriptor_ = -1;
  std::unique_ptr<FolderLock> file_;
};

// The folder and those above it that were missing. Destroyed without keep(), it removes them if they are empty.
class MadeFolders {
 public:
  // Throws ErrorCode::resource.
  explicit MadeFolders(const std::filesystem::path& folder);
  ~MadeFolders();
  MadeFolders(const MadeFolders&) = delete;
  MadeFolders& operator=(const MadeFolders&) = delete;
  void keep() { made_.clear(); }

 private:
  void remove() noexcept;

  std::vector<std::filesystem::path> made_;  // outermost first
};

// A folder that goes with everything in it, unless it is kept.
class TemporaryTree {
 public:
  explicit TemporaryTree(std::filesystem::path folder) : folder_(std::move(folder)) {}
  ~TemporaryTree();
  TemporaryTree(const TemporaryTree&) = delete;
  TemporaryTree& operator=(const TemporaryTree&) = delete;
  void keep() { folder_.clear(); }

 private:
  std::filesystem::path folder_;
};

}  // namespace arkit::output
