#pragma once
// A folder on a disk that has room for little: a tmpfs of its own where the test may mount one, else any folder while
// no file of this process may grow beyond the size.

#include <csignal>
#include <filesystem>

#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include <arkit/str.h>

namespace arkit::testing {

class SmallDisk {
 public:
  // `folder` exists and is empty; `bytes` is a multiple of the page size.
  SmallDisk(std::filesystem::path folder, int64_t bytes) : folder_(std::move(folder)) {
    mounted_ = ::mount("tmpfs", folder_.c_str(), "tmpfs", 0, str("size=", bytes).c_str()) == 0;
    if (mounted_) return;
    ::getrlimit(RLIMIT_FSIZE, &before_);
    handler_ = std::signal(SIGXFSZ, SIG_IGN);
    struct rlimit small = before_;
    small.rlim_cur = static_cast<rlim_t>(bytes);
    ::setrlimit(RLIMIT_FSIZE, &small);
  }
  ~SmallDisk() {
    if (mounted_) {
      ::umount2(folder_.c_str(), MNT_DETACH);
      return;
    }
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }
  [[nodiscard]] bool mounted() const { return mounted_; }

 private:
  std::filesystem::path folder_;
  bool mounted_ = false;
  struct rlimit before_ {};
  void (*handler_)(int) = SIG_DFL;
};

}  // namespace arkit::testing
