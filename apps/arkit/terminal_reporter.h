#pragma once
// The one Reporter: a progress bar that is rewritten on a terminal, plain lines otherwise, JSON events where they were
// asked for (docs/COMMAND_LINE.md). Everything goes to stderr.

#include <chrono>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

#include <arkit/json.h>
#include <arkit/log.h>

#include "progress_text.h"

namespace arkit::cli {

enum class ProgressStyle { bar, lines, events };

// What --progress means here: "auto", "lines" or "json".
[[nodiscard]] ProgressStyle progress_style(std::string_view wanted);

class TerminalReporter final : public Reporter {
 public:
  TerminalReporter(ProgressStyle style, bool quiet, bool verbose);
  ~TerminalReporter() override;

  void step(std::string_view what) override;
  void info(std::string_view message) override;
  void warn(std::string_view message) override;
  void block_done(const BlockProgress& progress) override;
  void progress(const Progress& progress) override;

  void finish();              // ends the progress line, so that a result can follow
  void ended(int exit_code);  // the last event

 private:
  using Clock = std::chrono::steady_clock;

  // These need mutex_.
  void end_bar();
  void line(const std::string& text);  // a line that stays
  void bar(const std::string& text);   // rewritten in place; terminals only
  void event(std::string_view name, json::Object members);
  [[nodiscard]] bool is_due(const Progress& progress, Clock::time_point now);

  const ProgressStyle style_;
  const bool quiet_, verbose_;
  const Clock::time_point start_ = Clock::now();

  std::mutex mutex_;  // guards what follows, and stderr
  bool bar_shown_ = false;
  double block_seconds_ = 0.0;
  int64_t blocks_done_ = 0;
  PaceKeeper pace_;
  std::map<std::string, Clock::time_point, std::less<>> shown_;  // when each `what` was last shown
};

}  // namespace arkit::cli
