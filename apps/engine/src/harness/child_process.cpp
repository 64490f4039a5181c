#include "harness/child_process.h"

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <arkit/error.h>
#include <arkit/log.h>
#include <arkit/str.h>

extern char** environ;

namespace arkit::harness {
namespace {

constexpr int kAsksEveryMs = 100;
constexpr std::chrono::seconds kGrace{3};  // between being asked to end and being ended
constexpr size_t kLongestLine = size_t{16} << 20;

[[noreturn]] void fail(const std::string& program, std::string_view what) {
  throw_resource(str("'", printable(program, 400), "' cannot be started: ", what, ": ", lower(std::strerror(errno))));
}

// Of descriptors that are closed whatever happens.
struct Descriptor {
  int number = -1;
  ~Descriptor() {
    if (number >= 0) ::close(number);
  }
  int give() { return std::exchange(number, -1); }
};

void write_all(int descriptor, std::string_view text, const std::string& program) {
  while (!text.empty()) {
    const ssize_t written = ::write(descriptor, text.data(), text.size());
    if (written < 0 && errno != EINTR) fail(program, "its input cannot be kept");
    if (written > 0) text.remove_prefix(static_cast<size_t>(written));
  }
}

// "NAME=value" of ours and of the child's own.
std::vector<std::string> environment_of(const ChildCommand& command) {
  std::vector<std::string> all;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    bool replaced = false;
    for (const auto& [name, value] : command.environment)
      replaced = replaced || (text.starts_with(name) && text.substr(name.size()).starts_with('='));
    if (!replaced) all.emplace_back(text);
  }
  for (const auto& [name, value] : command.environment) all.push_back(str(name, "=", value));
  return all;
}

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> all;
  for (std::string& word : words) all.push_back(word.data());
  all.push_back(nullptr);
  return all;
}

// In the child, where nothing but system calls may be made: other threads of ours are gone with what they held.
[[noreturn]] void become(char* const* argv, char* const* environment, int input, int out, int err, pid_t parent) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(127);  // it died in between
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGXFSZ}) ::signal(number, SIG_DFL);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (::dup2(input, STDIN_FILENO) < 0 || ::dup2(out, STDOUT_FILENO) < 0 || ::dup2(err, STDERR_FILENO) < 0) ::_exit(127);
  ::execve(argv[0], argv, environment);
  const char* said = std::strerror(errno);
  (void)!::write(STDERR_FILENO, said, std::strlen(said));
  ::_exit(127);
}

std::string how_it_ended(int status) {
  if (WIFEXITED(status)) return WEXITSTATUS(status) == 0 ? "" : str("ended with exit code ", WEXITSTATUS(status));
  const char* name = ::strsignal(WTERMSIG(status));
  return str("was ended by signal ", WTERMSIG(status), " (", name == nullptr ? "unknown" : name, ")");
}

}  // namespace

ChildProcess::ChildProcess(const ChildCommand& command) {
  const std::string& program = command.argv.front();
  Descriptor input{::memfd_create("input", MFD_CLOEXEC)};
  if (input.number < 0) fail(program, "its input cannot be kept");
  write_all(input.number, command.input, program);
  ::lseek(input.number, 0, SEEK_SET);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) fail(program, "a pipe cannot be made");
  Descriptor out_read{ends[0]}, out_write{ends[1]};
  if (::pipe2(ends, O_CLOEXEC) != 0) fail(program, "a pipe cannot be made");
  Descriptor err_read{ends[0]}, err_write{ends[1]};
  std::vector<std::string> words = command.argv, variables = environment_of(command);
  const std::vector<char*> argv = pointers(words), environment = pointers(variables);
  const pid_t parent = ::getpid();
  process_ = ::fork();
  if (process_ == 0) become(argv.data(), environment.data(), input.number, out_write.number, err_write.number, parent);
  if (process_ < 0) fail(program, "a process cannot be made");
  ::setpgid(process_, process_);  // by whoever comes first
  for (const int end : {out_read.number, err_read.number}) ::fcntl(end, F_SETFL, O_NONBLOCK);
  out_.descriptor = out_read.give();
  err_.descriptor = err_read.give();
}

ChildProcess::~ChildProcess() {
  end();
  for (const Stream* stream : {&out_, &err_})
    if (stream->descriptor >= 0) ::close(stream->descriptor);
}

// False at its end.
bool ChildProcess::read_some(Stream& stream, bool returns_end_lines,
                             const std::function<void(const std::string&)>& call) {
  std::array<char, 65536> buffer;
  const ssize_t count = ::read(stream.descriptor, buffer.data(), buffer.size());
  if (count < 0) return errno == EAGAIN || errno == EINTR;
  for (ssize_t i = 0; i < count; ++i) {
    const char c = buffer[static_cast<size_t>(i)];
    if (c == '\n' || (c == '\r' && returns_end_lines)) {
      if (!stream.rest.empty()) call(std::exchange(stream.rest, {}));
    } else if (stream.rest.size() < kLongestLine) {
      stream.rest += c;
    }
  }
  if (count == 0 && !stream.rest.empty()) call(std::exchange(stream.rest, {}));
  return count > 0;
}

std::string ChildProcess::follow(const ChildListener& listener) {
  while (out_.descriptor >= 0 || err_.descriptor >= 0) {
    std::array<pollfd, 2> wait{{{out_.descriptor, POLLIN, 0}, {err_.descriptor, POLLIN, 0}}};
    const int ready = ::poll(wait.data(), wait.size(), kAsksEveryMs);
    throw_if_interrupted();
    if (listener.meanwhile) listener.meanwhile();
    if (ready <= 0) {
      // Whoever left a process of its own behind that holds the pipes has ended all the same.
      siginfo_t ended{};
      if (::waitid(P_PID, static_cast<id_t>(process_), &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid != 0)
        break;
      continue;
    }
    for (Stream* stream : {&out_, &err_}) {
      const bool is_err = stream == &err_;
      if (wait[is_err ? 1 : 0].revents == 0) continue;
      if (read_some(*stream, is_err, is_err ? listener.err : listener.out)) continue;
      ::close(stream->descriptor);
      stream->descriptor = -1;
    }
  }
  return how_it_ended(wait());
}

// Both pipes are closed, or it has ended.
int ChildProcess::wait() {
  int status = 0;
  while (::waitpid(process_, &status, WNOHANG) == 0) {
    throw_if_interrupted();
    ::poll(nullptr, 0, 10);
  }
  ::kill(-process_, SIGKILL);  // what it started
  process_ = -1;
  return status;
}

void ChildProcess::end() noexcept {
  if (process_ < 0) return;
  ::kill(-process_, SIGTERM);
  const auto until = std::chrono::steady_clock::now() + kGrace;
  int status = 0;
  pid_t ended = 0;
  while ((ended = ::waitpid(process_, &status, WNOHANG)) == 0 && std::chrono::steady_clock::now() < until)
    ::poll(nullptr, 0, 20);
  ::kill(-process_, SIGKILL);
  if (ended == 0)
    while (::waitpid(process_, &status, 0) < 0 && errno == EINTR) {
    }
  process_ = -1;
}

}  // namespace arkit::harness
