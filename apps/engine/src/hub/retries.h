#pragma once
// When a request that failed is tried again, and how long to wait before.

#include <cstdint>
#include <random>
#include <string>

#include "hub/http.h"
#include "hub/settings.h"
#include "hub/voice.h"

namespace arkit::hub {

// Of one file or page. Waiting ends at once when the user asks to stop, or `stop` (ErrorCode::interrupted).
class Retries {
 public:
  // `what` opens messages: "model 'org/name': 'config.json'". What is waited for is no longer wanted when `stop` is true.
  Retries(const Settings& settings, Voice& voice, std::string what, const std::atomic<bool>& stop);

  // So many bytes are there now. When that is more than ever, earlier failures are forgotten; bytes that come again, from
  // a host without ranges, are no progress.
  void progress(int64_t bytes) {
    if (bytes <= most_) return;
    most_ = bytes;
    failed_ = 0;
  }

  // Both return when it is time for another try, and throw ErrorCode::resource when there is none.
  void after(const NetworkFault& fault);
  void after(const Response& response);  // of which is_passing() is true

  // Busy or broken, as hubs are now and then: 408, 429, 500, 502, 503, 504.
  [[nodiscard]] static bool is_passing(const Response& response);

 private:
  void wait(double seconds);
  [[nodiscard]] double back_off();

  const Settings& settings_;
  Voice& voice_;
  std::string what_;
  const std::atomic<bool>& stop_;
  int failed_ = 0;  // in a row
  int64_t most_ = 0;
  double told_ = 0;  // seconds waited because the hub said so
  std::minstd_rand random_;
};

// Seconds that a Retry-After asks for, a number or a date; < 0 = none or nonsense.
[[nodiscard]] ARKIT_INTERNAL double retry_after(const Response& response);

}  // namespace arkit::hub
