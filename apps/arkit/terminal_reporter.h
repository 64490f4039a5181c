#pragma once
// The one Reporter: a progress line that is rewritten on a terminal, plain lines otherwise. Everything goes to stderr.

#include <chrono>
#include <string>

#include <arkit/log.h>

namespace arkit::cli {

class TerminalReporter final : public Reporter {
 public:
  TerminalReporter(bool quiet, bool verbose);
  ~TerminalReporter() override;

  void step(std::string_view what) override;
  void info(std::string_view message) override;
  void warn(std::string_view message) override;
  void block_done(const BlockProgress& progress) override;
  void activity(std::string_view what, int64_t done, int64_t total) override;

  void finish();  // ends the progress line, so that a result can follow

 private:
  using Clock = std::chrono::steady_clock;

  void line(const std::string& text);      // a line that stays
  void progress(const std::string& text);  // rewritten in place; terminals only

  bool quiet_, verbose_, terminal_;
  bool progress_shown_ = false;
  double block_seconds_ = 0.0;
  int64_t blocks_done_ = 0;
  Clock::time_point last_activity_{};
};

// One finished block as text: "block 3/30  loss 1.2e-03 -> 4.0e-04 (iter 180)  850 tokens/s  4.1 s  left 1:50  peak
// 0.61 GB".
[[nodiscard]] std::string block_text(const BlockProgress& progress, double seconds_left, double peak_bytes);

}  // namespace arkit::cli
