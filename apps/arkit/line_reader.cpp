#include "line_reader.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <iterator>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <arkit/error.h>
#include <arkit/log.h>
#include <arkit/str.h>

namespace arkit::cli {
namespace {

// Of the handler, which may do little more than set them.
volatile std::sig_atomic_t wake = -1, ends = 0, unheard = 0;
volatile std::sig_atomic_t most_unheard = 1;

extern "C" void on_signal(int number) {
  const int error = errno;
  if (number == SIGINT) {
    unheard = unheard + 1;
    if (unheard > most_unheard) ::_exit(static_cast<int>(ErrorCode::interrupted));
  } else {
    if (ends != 0) ::_exit(static_cast<int>(ErrorCode::interrupted));
    ends = 1;
  }
  request_interrupt();
  [[maybe_unused]] const ssize_t written = ::write(wake, "", 1);  // full: it is awake already
  errno = error;
}

constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP};
struct sigaction before[std::size(kSignals)];

constexpr size_t kMaxLine = size_t{1} << 20;

}  // namespace

SignalWatch::SignalWatch(bool keeps_going) {
  if (::pipe2(pipe_, O_CLOEXEC | O_NONBLOCK) != 0)
    throw_resource(str("the system gives no pipe (", lower(std::strerror(errno)), "); close other programs"));
  wake = pipe_[1];
  ends = 0;
  unheard = 0;
  most_unheard = keeps_going ? 2 : 1;
  struct sigaction action {};
  action.sa_handler = on_signal;
  for (size_t i = 0; i < std::size(kSignals); ++i) {
    ::sigaction(kSignals[i], nullptr, &before[i]);
    if (kSignals[i] != SIGHUP || before[i].sa_handler != SIG_IGN) ::sigaction(kSignals[i], &action, nullptr);
  }
}

SignalWatch::~SignalWatch() {
  for (size_t i = 0; i < std::size(kSignals); ++i) ::sigaction(kSignals[i], &before[i], nullptr);
  wake = -1;
  ::close(pipe_[0]);
  ::close(pipe_[1]);
}

bool SignalWatch::must_end() const {
  return ends != 0;
}

void SignalWatch::forget() {
  clear_interrupt();
  unheard = 0;
  char bytes[64];
  while (::read(pipe_[0], bytes, sizeof(bytes)) > 0) continue;
}

LineReader::Outcome LineReader::next(std::string& line) {
  while (true) {
    const size_t end = buffer_.find('\n', looked_);
    if (end != std::string::npos || (ended_ && !buffer_.empty())) {
      line = buffer_.substr(0, end);
      if (line.ends_with('\r')) line.pop_back();
      buffer_.erase(0, end == std::string::npos ? end : end + 1);
      looked_ = 0;
      return Outcome::line;
    }
    if (ended_) return Outcome::end;
    looked_ = buffer_.size();
    if (looked_ > kMaxLine)
      throw_input(str("standard input: a line has more than ", kMaxLine, " bytes; give shorter messages"));
    pollfd both[] = {{STDIN_FILENO, POLLIN, 0}, {signals_.descriptor(), POLLIN, 0}};
    if (::poll(both, 2, -1) < 0 && errno != EINTR)
      throw_resource(str("standard input cannot be waited for (", lower(std::strerror(errno)), ")"));
    if (interrupted()) return Outcome::signal;
    if (both[0].revents == 0) continue;
    char bytes[4096];
    const ssize_t count = ::read(STDIN_FILENO, bytes, sizeof(bytes));
    if (count < 0 && errno != EINTR && errno != EAGAIN)
      throw_input(str("standard input cannot be read (", lower(std::strerror(errno)), ")"));
    if (count > 0) buffer_.append(bytes, static_cast<size_t>(count));
    ended_ = count == 0;
  }
}

}  // namespace arkit::cli
