#include "terminal_reporter.h"

#include <cstdio>
#include <cstdlib>

#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <arkit/str.h>

#include "render.h"

namespace arkit::cli {
namespace {

bool is_terminal() {
  const char* kind = std::getenv("TERM");
  return ::isatty(STDERR_FILENO) != 0 && kind != nullptr && std::string_view(kind) != "dumb";
}

size_t terminal_columns() {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 10 ? size.ws_col : 80;
}

double peak_bytes() {
  rusage usage{};
  return ::getrusage(RUSAGE_SELF, &usage) == 0 ? static_cast<double>(usage.ru_maxrss) * 1024.0 : 0.0;
}

std::string short_number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.3g", value);
  return text;
}

}  // namespace

std::string block_text(const BlockProgress& progress, double seconds_left, double peak) {
  std::string text = str("block ", progress.block + 1, "/", progress.num_blocks);
  if (progress.loss_before >= 0.0 && progress.loss_after >= 0.0) {
    text += str("  loss ", short_number(progress.loss_before), " -> ", short_number(progress.loss_after));
    if (progress.best_iter >= 0) text += str(" (iter ", progress.best_iter, ")");
  }
  if (progress.tokens_per_second > 0.0) text += str("  ", short_number(progress.tokens_per_second), " tokens/s");
  text += "  " + human_seconds(progress.seconds);
  if (seconds_left > 0.0) text += "  left " + human_seconds(seconds_left);
  return text + "  peak " + human_bytes(peak);
}

TerminalReporter::TerminalReporter(bool quiet, bool verbose)
    : quiet_(quiet), verbose_(verbose), terminal_(is_terminal()) {}

TerminalReporter::~TerminalReporter() {
  finish();
}

void TerminalReporter::finish() {
  if (progress_shown_) std::fputs("\n", stderr);
  progress_shown_ = false;
}

void TerminalReporter::line(const std::string& text) {
  finish();
  std::fprintf(stderr, "%s\n", printable(text, 2000).c_str());
}

void TerminalReporter::progress(const std::string& text) {
  const std::string shown = printable(text, terminal_columns() - 4);
  std::fprintf(stderr, "\r\033[K%s", shown.c_str());
  std::fflush(stderr);
  progress_shown_ = true;
}

void TerminalReporter::step(std::string_view what) {
  block_seconds_ = 0.0;
  blocks_done_ = 0;
  if (!quiet_) line(str("> ", what));
}

void TerminalReporter::info(std::string_view message) {
  if (!quiet_) line(std::string(message));
}

void TerminalReporter::warn(std::string_view message) {
  line(str("warning: ", message));
}

void TerminalReporter::block_done(const BlockProgress& done) {
  if (quiet_) return;
  block_seconds_ += done.seconds;
  ++blocks_done_;
  const double left =
      block_seconds_ / static_cast<double>(blocks_done_) * static_cast<double>(done.num_blocks - done.block - 1);
  const std::string text = block_text(done, left, peak_bytes());
  // Losses are worth keeping; on a terminal an untuned block is only progress.
  if (!terminal_ || verbose_ || done.loss_after >= 0.0)
    line(text);
  else
    progress(text);
}

void TerminalReporter::activity(std::string_view what, int64_t done, int64_t total) {
  if (quiet_ || !terminal_) return;
  const Clock::time_point now = Clock::now();
  if (now - last_activity_ < std::chrono::milliseconds(100) && done != total) return;
  last_activity_ = now;
  progress(str(what, " ", done, "/", total));
}

}  // namespace arkit::cli
