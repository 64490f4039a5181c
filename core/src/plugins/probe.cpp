#include "plugins/probe.h"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <optional>

#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <arkit/error.h>
#include <arkit/log.h>
#include <arkit/str.h>

#include "plugins/loaded_manifest.h"
#include "plugins/questions.h"

namespace arkit::plugins {
namespace {

// The child tells what it is about to do before it does it, one line a message:
//   L          the library is being loaded
//   C WHAT     WHAT is being called: "info() of scheme 'int'"
//   T TEXT     an exception came out of the call
//   D          done with the file; the next one follows
//   X TEXT     an exception nobody caught, the child ends
namespace child {

int report_to = -1;

void say(std::string line) {
  for (char& c : line)
    if (c == '\n') c = ' ';
  line.resize(std::min<size_t>(line.size(), 800));
  line += '\n';
  const char* rest = line.data();
  for (size_t left = line.size(); left > 0;) {
    const ssize_t written = ::write(report_to, rest, left);
    if (written <= 0) ::_exit(0);  // nobody listens any more
    rest += written;
    left -= static_cast<size_t>(written);
  }
}

[[noreturn]] void on_terminate() {
  say("X " + current_exception_text());
  ::_exit(0);
}

// Nothing of the parent may happen twice: not its exit handlers, not what its streams still hold, not its signals.
void leave_parent(int report) {
  report_to = report;
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGXFSZ, SIGPIPE})
    std::signal(number, SIG_DFL);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  const int nothing = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int descriptor = 0; descriptor <= 2; ++descriptor)
    if (nothing >= 0) ::dup2(nothing, descriptor);
  // Exit handlers run last in, first out: this one ends a child that a plugin's exit() would end, with its own code.
  ::on_exit([](int status, void*) { ::_exit(status); }, nullptr);
  std::set_terminate(on_terminate);
}

void try_file(const std::filesystem::path& file) {
  say("L");
  void* library = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  const auto* manifest =
      library == nullptr ? nullptr : static_cast<const ArkitManifest*>(::dlsym(library, "arkit_manifest"));
  if (manifest != nullptr && refuse_pointers(*manifest).empty()) {
    for (uint32_t i = 0; i < manifest->component_count; ++i) {
      try {
        ask_questions(manifest->components[i], file, [](const std::string& what) { say("C " + what); });
      } catch (...) {
        say("T " + current_exception_text());
      }
    }
  }
  const auto* backend = library == nullptr
                            ? nullptr
                            : static_cast<const ArkitBackendManifest*>(::dlsym(library, "arkit_backend_manifest"));
  if (backend != nullptr && refuse_pointers(*backend).empty()) {
    try {
      ask_backend(*backend, file, [](const std::string& what) { say("C " + what); });
    } catch (...) {
      say("T " + current_exception_text());
    }
  }
  if (library != nullptr) {  // what it does at the end of a program; the parent keeps it until then
    say("C its termination functions");
    ::dlclose(library);
  }
  say("D");
}

// noexcept: what a library throws while it is loaded must end here, not in a handler of the parent's further up the stack.
[[noreturn]] void run(std::span<const std::filesystem::path> files, int report) noexcept {
  leave_parent(report);
  for (const std::filesystem::path& file : files) try_file(file);
  ::_exit(0);
}

}  // namespace child

std::string how_it_ended(int status) {
  if (WIFSIGNALED(status)) {
    const int number = WTERMSIG(status);
    const char* name = ::strsignal(number);
    return str("crashed with signal ", number, " (", name == nullptr ? "unknown" : name, ")");
  }
  return str("ended the program with exit code ", WEXITSTATUS(status));
}

// A child and the pipe it reports to; killed with all it started when it is still there.
class Child {
 public:
  explicit Child(std::span<const std::filesystem::path> files) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) fail("a pipe cannot be made");
    std::fflush(nullptr);
    process_ = ::fork();
    if (process_ == 0) {
      ::close(ends[0]);
      child::run(files, ends[1]);
    }
    const int error = errno;
    ::close(ends[1]);
    read_from_ = ends[0];
    if (process_ < 0) {
      ::close(read_from_);
      errno = error;
      fail("a process cannot be started");
    }
    ::setpgid(process_, process_);  // by whoever comes first
  }
  ~Child() {
    if (process_ > 0) end();
    ::close(read_from_);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  // The next line; empty at the end of the child or, with `late` set, of the time.
  [[nodiscard]] std::string next_line(std::chrono::steady_clock::time_point until, bool& late) {
    for (;;) {
      if (const size_t end = text_.find('\n'); end != std::string::npos) {
        std::string line = text_.substr(0, end);
        text_.erase(0, end + 1);
        return line;
      }
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now()).count();
      pollfd wait{read_from_, POLLIN, 0};
      const int ready = left <= 0 ? 0 : ::poll(&wait, 1, static_cast<int>(left));
      throw_if_interrupted();
      if (ready < 0 && errno == EINTR) continue;
      if (ready <= 0) {
        late = true;
        return {};
      }
      char buffer[1024];
      const ssize_t n = ::read(read_from_, buffer, sizeof(buffer));
      if (n <= 0) return {};
      text_.append(buffer, static_cast<size_t>(n));
    }
  }

  // Its exit status. Whoever closed the pipe without ending has the rest of the time to do so.
  [[nodiscard]] int wait(std::chrono::steady_clock::time_point until, bool& late) {
    int status = 0;
    while (::waitpid(process_, &status, WNOHANG) == 0) {
      throw_if_interrupted();
      if (std::chrono::steady_clock::now() >= until) {
        late = true;
        return end();
      }
      ::poll(nullptr, 0, 1);
    }
    ::kill(-process_, SIGKILL);  // what it started
    process_ = -1;
    return status;
  }

 private:
  [[noreturn]] static void fail(std::string_view what) {
    throw_resource(str("plugins cannot be tried: ", what, ": ", std::strerror(errno),
                       "; end other programs, or set ARKIT_PLUGIN_PATH=disable"));
  }

  int end() {
    int status = 0;
    ::kill(-process_, SIGKILL);
    ::kill(process_, SIGKILL);
    while (::waitpid(process_, &status, 0) < 0 && errno == EINTR) {
    }
    process_ = -1;
    return status;
  }

  pid_t process_ = -1;
  int read_from_ = -1;
  std::string text_;
};

// Follows one child through files[at...] and returns the file to go on with in another child.
size_t follow(std::span<const std::filesystem::path> files, size_t at, std::chrono::milliseconds limit,
              std::vector<ProbeResult>& results) {
  Child child(files.subspan(at));
  while (at < files.size()) {
    const auto until = std::chrono::steady_clock::now() + limit;
    std::string doing = "was loaded";
    bool late = false;
    ProbeResult& result = results[at];
    for (;;) {
      const std::string line = child.next_line(until, late);
      const std::string text = line.size() > 2 ? printable(line.substr(2), 800) : std::string();
      if (line == "D") break;
      if (line.starts_with("C ")) doing = str("ran ", text);
      if (line.starts_with("T ") && result.thrown.empty()) result.thrown = str("threw ", text, " when it ", doing);
      if (line.starts_with("X ")) result.ended = str("threw ", text, " when it ", doing);
      if (!line.empty()) continue;
      const int status = late ? 0 : child.wait(until, late);
      if (result.ended.empty())
        result.ended = late ? str("did not come to an end within ", std::chrono::duration<double>(limit).count(),
                                  " s when it ", doing)
                            : str(how_it_ended(status), " when it ", doing);
      return at + 1;
    }
    ++at;
  }
  return at;
}

}  // namespace

std::vector<ProbeResult> probe_files(std::span<const std::filesystem::path> files, std::chrono::milliseconds limit) {
  std::vector<ProbeResult> results(files.size());
  for (size_t at = 0; at < files.size();) at = follow(files, at, limit, results);
  return results;
}

}  // namespace arkit::plugins
