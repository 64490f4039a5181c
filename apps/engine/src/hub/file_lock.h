#pragma once
// A lock that other programs on this machine respect, too: flock on a file of an agreed name, which stays.

#include <atomic>
#include <filesystem>
#include <functional>

#include <arkit/export.h>

namespace arkit::hub {

class ARKIT_INTERNAL FileLock {
 public:
  // Waits for it; `waiting` is called once when that takes a while. Where the file system has no locks nobody is locked
  // out: whatever is written under a lock is checked before anyone sees it. Throws ErrorCode::interrupted when the user
  // asks to stop, or `stop` becomes true, and ErrorCode::resource when the file cannot be made.
  FileLock(const std::filesystem::path& path, const std::atomic<bool>& stop, const std::function<void()>& waiting);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  int descriptor_ = -1;
};

}  // namespace arkit::hub
