#pragma once
// How a hub speaks while several threads download: one at a time, to one Reporter.

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>

#include <arkit/log.h>

namespace arkit::hub {

// "1.23 GB".
[[nodiscard]] ARKIT_INTERNAL std::string in_bytes(double bytes);

// Thread-safe.
class Voice {
 public:
  explicit Voice(Reporter& reporter) : reporter_(reporter) {}

  void info(const std::string& message);
  void warn(const std::string& message);

  // A download of so many files and bytes begins, of which some may be there already; downloads that run together are
  // one to the user.
  void begin(int64_t files, int64_t bytes);
  void received(int64_t bytes);  // negative: what came is thrown away
  void found(int64_t bytes);     // there already
  void file_done();
  void end();  // says what was done when the last of them ends

 private:
  using Clock = std::chrono::steady_clock;
  void show(bool at_once);

  Reporter& reporter_;
  std::mutex mutex_;
  int64_t files_ = 0, bytes_ = 0, bytes_done_ = 0;  // what a bar shows
  int running_ = 0;
  int64_t new_bytes_ = 0;  // since the first began, without what was there
  Clock::time_point began_, shown_;
};

}  // namespace arkit::hub
