#include "hub/file_lock.h"

#include <cerrno>
#include <chrono>
#include <system_error>
#include <thread>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <arkit/log.h>

#include "hub/disk.h"
#include "hub/stop.h"

namespace arkit::hub {
namespace {

constexpr auto kGlance = std::chrono::milliseconds(50);
constexpr int kGlancesBeforeWord = 20;
constexpr mode_t kMode = 0664;  // a cache may belong to a group

}  // namespace

FileLock::FileLock(const std::filesystem::path& path, const std::atomic<bool>& stop,
                   const std::function<void()>& waiting) {
  std::error_code error;
  std::filesystem::create_directories(path.parent_path(), error);
  descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, kMode);
  if (descriptor_ < 0) throw_disk(path, "opening the lock", errno);
  for (int glances = 0; ::flock(descriptor_, LOCK_EX | LOCK_NB) != 0; ++glances) {
    if (errno != EWOULDBLOCK && errno != EINTR) return;
    if (glances == kGlancesBeforeWord) waiting();
    if (interrupted() || stop) {
      ::close(descriptor_);
      stop_if_interrupted();
      throw Error(ErrorCode::interrupted, "stopped");
    }
    std::this_thread::sleep_for(kGlance);
  }
}

FileLock::~FileLock() {
  ::close(descriptor_);
}

}  // namespace arkit::hub
