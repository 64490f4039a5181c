#pragma once
// Another program, its input given at once and its output read line by line while it runs. It ends with us: by an
// interrupt, by an exception, by our death; and with it whatever it started.

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <sys/types.h>

namespace arkit::harness {

struct ChildCommand {
  std::vector<std::string> argv;                                      // a path and its arguments; no shell sees them
  std::string input;                                                  // its standard input
  std::vector<std::pair<std::string, std::string>> environment = {};  // beside ours, which they replace
};

struct ChildListener {
  std::function<void(const std::string& line)> out;  // without the end of line
  std::function<void(const std::string& line)> err;  // carriage returns end lines, too: progress is drawn with them
  std::function<void()> meanwhile = {};              // several times a second; may throw, which ends the child
};

class ChildProcess {
 public:
  // Starts it in a process group of its own: Ctrl-C of a terminal comes to us alone, who say it to the child. Throws
  // ErrorCode::resource.
  explicit ChildProcess(const ChildCommand& command);
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  // Listens until it ends. "" = by itself with exit code 0, else how: "ended with exit code 3". Throws
  // Error{interrupted}. Lines longer than 16 MB are cut.
  [[nodiscard]] std::string follow(const ChildListener& listener);

 private:
  struct Stream {
    int descriptor = -1;
    std::string rest;  // of a line that goes on
  };
  static bool read_some(Stream& stream, bool returns_end_lines, const std::function<void(const std::string&)>& call);
  [[nodiscard]] int wait();
  void end() noexcept;

  pid_t process_ = -1;
  Stream out_, err_;
};

}  // namespace arkit::harness
