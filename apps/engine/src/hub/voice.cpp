#include "hub/voice.h"

#include <algorithm>
#include <cstdio>
#include <iterator>

#include <arkit/str.h>

namespace arkit::hub {
namespace {

constexpr auto kBetweenShows = std::chrono::milliseconds(200);

double seconds_between(std::chrono::steady_clock::time_point from, std::chrono::steady_clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

std::string short_number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.3g", value);
  return text;
}

}  // namespace

std::string in_bytes(double bytes) {
  static constexpr const char* kUnits[] = {" B", " kB", " MB", " GB", " TB"};
  size_t unit = 0;
  for (; bytes >= 999.5 && unit + 1 < std::size(kUnits); ++unit) bytes /= 1000.0;
  return short_number(bytes) + kUnits[unit];
}

void Voice::info(const std::string& message) {
  const std::lock_guard lock(mutex_);
  reporter_.info(message);
}

void Voice::warn(const std::string& message) {
  const std::lock_guard lock(mutex_);
  reporter_.warn(message);
}

void Voice::begin(int64_t files, int64_t bytes) {
  const std::lock_guard lock(mutex_);
  if (running_++ == 0) {
    files_ = bytes_ = bytes_done_ = 0;
    new_bytes_ = 0;
    began_ = Clock::now();
  }
  files_ += files;
  bytes_ += bytes;
  show(true);
}

void Voice::received(int64_t bytes) {
  const std::lock_guard lock(mutex_);
  bytes_done_ += bytes;
  new_bytes_ += std::max<int64_t>(bytes, 0);
  show(false);
}

void Voice::found(int64_t bytes) {
  const std::lock_guard lock(mutex_);
  bytes_done_ += bytes;
  show(false);
}

void Voice::file_done() {
  const std::lock_guard lock(mutex_);
  show(true);
}

void Voice::end() {
  const std::lock_guard lock(mutex_);
  if (--running_ > 0 || new_bytes_ == 0) return;
  const double seconds = seconds_between(began_, Clock::now());
  reporter_.info(str("downloaded ", in_bytes(static_cast<double>(new_bytes_)), " in ", short_number(seconds), " s (",
                     in_bytes(static_cast<double>(new_bytes_) / std::max(seconds, 1e-3)), "/s)"));
}

void Voice::show(bool at_once) {
  const Clock::time_point now = Clock::now();
  if (!at_once && now - shown_ < kBetweenShows) return;
  shown_ = now;
  const std::string what = files_ == 1 ? "downloading a file" : str("downloading ", files_, " files");
  reporter_.progress({what, bytes_done_, bytes_, kBytes});
}

}  // namespace arkit::hub
