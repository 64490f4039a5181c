#pragma once
// Lines of standard input, for a program that goes on after Ctrl-C.

#include <optional>
#include <string>

namespace arkit::cli {

// While one lives, SIGINT, SIGTERM and SIGHUP ask for a stop (log.h) and wake whoever waits for a line. One at a time.
class SignalWatch {
 public:
  // With `keeps_going` a SIGINT need not end the program, however many come; three that nobody has reacted to do. Without
  // it the second one does, as in every other command.
  explicit SignalWatch(bool keeps_going);
  ~SignalWatch();
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;

  [[nodiscard]] bool must_end() const;  // SIGTERM or SIGHUP came
  // SIGINT was understood: the next one begins anew.
  void forget();
  [[nodiscard]] int descriptor() const { return pipe_[0]; }  // readable after a signal

 private:
  int pipe_[2] = {-1, -1};
};

class LineReader {
 public:
  explicit LineReader(const SignalWatch& signals) : signals_(signals) {}
  enum class Outcome { line, end, signal };
  // Without its end; a last line may lack one. Throws ErrorCode::input for a line of more than 1 MiB.
  [[nodiscard]] Outcome next(std::string& line);

 private:
  const SignalWatch& signals_;
  std::string buffer_;
  size_t looked_ = 0;  // of the buffer: no line ends in it
  bool ended_ = false;
};

}  // namespace arkit::cli
