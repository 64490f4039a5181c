#include "terminal_reporter.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <arkit/escape.h>
#include <arkit/str.h>

#include "render.h"

namespace arkit::cli {
namespace {

using std::chrono::milliseconds;

// A log shows what takes long, and only now and then.
constexpr milliseconds kBetweenBars{100}, kBetweenEvents{500}, kBetweenLines{10'000};

bool is_terminal() {
  const char* kind = std::getenv("TERM");
  return ::isatty(STDERR_FILENO) != 0 && kind != nullptr && std::string_view(kind) != "dumb";
}

// A terminal that does not know its width (some in containers) may be told by COLUMNS.
size_t terminal_columns() {
  constexpr size_t kFewest = 10, kMost = 1000, kUsual = 80;
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > kFewest) return size.ws_col;
  const char* told = std::getenv("COLUMNS");
  const size_t columns = told == nullptr ? 0 : std::strtoul(told, nullptr, 10);
  return columns > kFewest && columns <= kMost ? columns : kUsual;
}

double peak_bytes() {
  rusage usage{};
  return ::getrusage(RUSAGE_SELF, &usage) == 0 ? static_cast<double>(usage.ru_maxrss) * 1024.0 : 0.0;
}

json::Value or_null(const std::optional<double>& value) {
  return value ? json::Value(*value) : json::Value();
}
json::Value or_null(double value, bool known) {
  return known ? json::Value(value) : json::Value();
}

}  // namespace

ProgressStyle progress_style(std::string_view wanted) {
  if (wanted == "json") return ProgressStyle::events;
  return wanted == "lines" || !is_terminal() ? ProgressStyle::lines : ProgressStyle::bar;
}

TerminalReporter::TerminalReporter(ProgressStyle style, bool quiet, bool verbose)
    : style_(style), quiet_(quiet), verbose_(verbose) {}

TerminalReporter::~TerminalReporter() {
  finish();
}

void TerminalReporter::finish() {
  const std::lock_guard lock(mutex_);
  end_bar();
}

void TerminalReporter::ended(int exit_code) {
  const std::lock_guard lock(mutex_);
  if (style_ == ProgressStyle::events) event("end", {{"exit_code", exit_code}});
}

void TerminalReporter::end_bar() {
  if (bar_shown_) std::fputs("\n", stderr);
  bar_shown_ = false;
}

void TerminalReporter::line(const std::string& text) {
  end_bar();
  std::fprintf(stderr, "%s\n", printable(text, 2000).c_str());
}

void TerminalReporter::bar(const std::string& text) {
  std::fprintf(stderr, "\r\033[K%s", printable(text, 2000).c_str());
  std::fflush(stderr);
  bar_shown_ = true;
}

// One object, one line, in one write: nothing of another process comes between.
void TerminalReporter::event(std::string_view name, json::Object members) {
  json::Object object{{"event", name}, {"time", std::chrono::duration<double>(Clock::now() - start_).count()}};
  for (auto& [key, value] : members) object[key] = std::move(value);
  const std::string text = escape_json(json::dump(object)) + "\n";
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

void TerminalReporter::step(std::string_view what) {
  const std::lock_guard lock(mutex_);
  block_seconds_ = 0.0;
  blocks_done_ = 0;
  pace_.forget();
  shown_.clear();
  if (quiet_) return;
  if (style_ == ProgressStyle::events)
    event("step", {{"text", what}});
  else
    line(str("> ", what));
}

void TerminalReporter::info(std::string_view message) {
  const std::lock_guard lock(mutex_);
  if (quiet_) return;
  if (style_ == ProgressStyle::events)
    event("info", {{"text", message}});
  else
    line(std::string(message));
}

void TerminalReporter::warn(std::string_view message) {
  const std::lock_guard lock(mutex_);
  if (style_ == ProgressStyle::events)
    event("warning", {{"text", message}});
  else
    line(str("warning: ", message));
}

void TerminalReporter::block_done(const BlockProgress& done) {
  const std::lock_guard lock(mutex_);
  if (quiet_) return;
  block_seconds_ += done.seconds;
  ++blocks_done_;
  const double left =
      block_seconds_ / static_cast<double>(blocks_done_) * static_cast<double>(done.num_blocks - done.block - 1);
  const bool tuned = done.loss_after >= 0.0;
  if (style_ == ProgressStyle::events) {
    event("block", {{"block", done.block + 1},
                    {"blocks", done.num_blocks},
                    {"seconds", done.seconds},
                    {"seconds_left", left},
                    {"loss_before", or_null(done.loss_before, done.loss_before >= 0.0)},
                    {"loss_after", or_null(done.loss_after, tuned)},
                    {"best_iter", tuned && done.best_iter >= 0 ? json::Value(done.best_iter) : json::Value()},
                    {"tokens_per_second", or_null(done.tokens_per_second, done.tokens_per_second > 0.0)},
                    {"peak_bytes", static_cast<int64_t>(peak_bytes())}});
    return;
  }
  // Losses are worth keeping; on a terminal an untuned block is only progress, which has its bar.
  if (style_ == ProgressStyle::lines || verbose_ || tuned) line(block_text(done, left, peak_bytes()));
}

bool TerminalReporter::is_due(const Progress& progress, Clock::time_point now) {
  const milliseconds between = style_ == ProgressStyle::bar      ? kBetweenBars
                               : style_ == ProgressStyle::events ? kBetweenEvents
                                                                 : kBetweenLines;
  const auto [last, is_new] = shown_.try_emplace(std::string(progress.what), now);
  const bool last_one = progress.total > 0 && progress.done >= progress.total;
  // Lines begin when something turns out to take long; a last line follows others only.
  const bool lines = style_ == ProgressStyle::lines;
  const bool due = lines ? now - last->second >= between : is_new || last_one || now - last->second >= between;
  if (due) last->second = now;
  if (last_one) shown_.erase(last);
  return due;
}

void TerminalReporter::progress(const Progress& progress) {
  const std::lock_guard lock(mutex_);
  if (quiet_) return;
  const Clock::time_point now = Clock::now();
  const Pace pace = pace_.note(progress, now);
  if (!is_due(progress, now)) return;
  if (style_ == ProgressStyle::events)
    event("progress", {{"what", progress.what},
                       {"done", progress.done},
                       {"total", progress.total > 0 ? json::Value(progress.total) : json::Value()},
                       {"unit", progress.unit.empty() ? json::Value() : json::Value(progress.unit)},
                       {"per_second", or_null(pace.per_second)},
                       {"seconds_left", or_null(pace.seconds_left)},
                       {"peak_bytes", static_cast<int64_t>(peak_bytes())}});
  else if (style_ == ProgressStyle::lines)
    line(progress_text(progress, pace, peak_bytes(), 0));
  else
    bar(fitting_text(progress, pace, peak_bytes(), terminal_columns() - 1));
}

}  // namespace arkit::cli
