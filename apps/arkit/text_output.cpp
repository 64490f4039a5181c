#include "text_output.h"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>

#include <unistd.h>

#include <arkit/error.h>
#include <arkit/escape.h>
#include <arkit/str.h>

namespace arkit::cli {

void write_piece(std::string_view piece) {
  const std::string text = ::isatty(STDOUT_FILENO) == 0 ? std::string(piece) : escape_terminal(piece);
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0) return;
  const int error = errno;
  if (error == EPIPE) {
    std::signal(SIGPIPE, SIG_DFL);
    std::raise(SIGPIPE);
  }
  throw_resource(
      str("standard output cannot be written (", lower(std::strerror(error)), "); make room, or send it elsewhere"));
}

}  // namespace arkit::cli
