#include "early_signals.h"

#include <csignal>
#include <string>

#include <unistd.h>

#include <arkit/error.h>
#include <arkit/log.h>

namespace arkit::cli {
namespace {

// Made before the handler can run, which may do nothing but write and end, and kept until the very end.
const std::string* for_stderr = nullptr;
const std::string* for_stdout = nullptr;

void write_out(int descriptor, const std::string& text) noexcept {
  [[maybe_unused]] const ssize_t written = ::write(descriptor, text.data(), text.size());  // nobody else can be told
}

extern "C" void on_early_signal(int) {
  write_out(STDOUT_FILENO, *for_stdout);
  write_out(STDERR_FILENO, *for_stderr);
  ::_exit(static_cast<int>(ErrorCode::interrupted));
}

std::string sentence() {
  request_interrupt();
  try {
    throw_if_interrupted();
  } catch (const Error& error) {
    clear_interrupt();
    return error.what();
  }
  return {};
}

}  // namespace

void end_on_signals(ErrorStyle style) {
  const std::string said = sentence();
  constexpr int kCode = static_cast<int>(ErrorCode::interrupted);
  for_stderr = new std::string(style.events ? error_event(kCode, said) : error_text(said));
  for_stdout = new std::string(style.json ? error_json(kCode, said) : std::string());
  struct sigaction action {};
  action.sa_handler = on_early_signal;
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction before {};
    ::sigaction(number, nullptr, &before);
    if (number != SIGHUP || before.sa_handler != SIG_IGN) ::sigaction(number, &action, nullptr);  // nohup's wish stands
  }
}

}  // namespace arkit::cli
