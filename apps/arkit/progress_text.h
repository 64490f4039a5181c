#pragma once
// Progress as a line for people: "hashing  [####......]  41%  1.2 GB of 3 GB  120 MB/s  left 0:15  peak 0.6 GB".

#include <chrono>
#include <map>
#include <optional>
#include <string>

#include <arkit/log.h>

namespace arkit::cli {

// What can be told of something that is counted; a rate needs a second look at it.
struct Pace {
  double seconds = 0.0;              // since it was first heard of
  std::optional<double> per_second;  // of what was done since then
  std::optional<double> seconds_left;
};

// Remembers when each `what` began. One that is done is forgotten, so that it can begin again.
class PaceKeeper {
 public:
  using Time = std::chrono::steady_clock::time_point;
  [[nodiscard]] Pace note(const Progress& progress, Time now);
  void forget() { begun_.clear(); }

 private:
  struct Begin {
    Time when;
    int64_t done;
  };
  std::map<std::string, Begin, std::less<>> begun_;
};

// One finished block: "block 3/30  loss 1.2e-03 -> 4.0e-04 (iter 180)  850 tokens/s  4.1 s  left 1:50  peak 0.61 GB".
[[nodiscard]] std::string block_text(const BlockProgress& progress, double seconds_left, double peak_bytes);

// With a bar that is `bar` characters wide; 0 = without. No memory = 0 bytes.
[[nodiscard]] std::string progress_text(const Progress& progress, const Pace& pace, double peak_bytes, size_t bar);
// As much of it as `columns` have room for: memory and then the bar are left out before anything is cut.
[[nodiscard]] std::string fitting_text(const Progress& progress, const Pace& pace, double peak_bytes, size_t columns);

}  // namespace arkit::cli
