// The real program: signals while a block is tuned, a source that changes, descriptors that are closed.
#include <chrono>
#include <csignal>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <sstream>
#include <thread>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/run_program.h"
#include "jobs/job_testing.h"

namespace arkit {
namespace {

namespace fs = std::filesystem;
using cli_test::contains;
using std::chrono::steady_clock;
using testing::TemporaryFolder;

std::string content_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::map<std::string, std::string> tree_of(const fs::path& folder) {
  std::map<std::string, std::string> tree;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) tree[entry.path().lexically_relative(folder).string()] = content_of(entry.path());
  return tree;
}

class Program : public ::testing::Test {
 protected:
  Program() { fs::copy(testing::tiny_model("source-llama-bf16"), model_, fs::copy_options::recursive); }

  std::vector<std::string> command(const std::vector<std::string>& more) const {
    std::vector<std::string> words{ARKIT_BINARY, "quantize", model_.string(), "--output_dir", out_.string()};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  // A run that would tune its first block for minutes.
  std::vector<std::string> long_run() const {
    return command({"--force", "--dataset", "self", "--nsamples", "4", "--seqlen", "32", "--iters", "1000000"});
  }

  struct End {
    int exit_code = -1;
    std::string messages;
    double seconds = 0;  // after the action
  };

  // The program with all it says in `log`; `prepare` runs in its process before it starts.
  static pid_t started(
      const std::vector<std::string>& words, const fs::path& log, const std::function<void()>& prepare = [] {}) {
    const pid_t child = ::fork();
    if (child != 0) return child;
    prepare();
    const int file = ::open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ::dup2(file, STDOUT_FILENO);
    ::dup2(file, STDERR_FILENO);
    std::vector<char*> argv;
    for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }

  // Starts the program, waits until it tunes, does `action` to it and waits for its end.
  End end_of(const std::vector<std::string>& words, const std::function<void(pid_t)>& action) const {
    const fs::path log = folder_.path() / "log";
    const pid_t child = started(words, log);
    const auto limit = steady_clock::now() + std::chrono::seconds(120);
    while (!contains(content_of(log), "quantizing") && steady_clock::now() < limit)
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    const auto start = steady_clock::now();
    action(child);
    int status = 0;
    while (::waitpid(child, &status, WNOHANG) == 0) {
      if (steady_clock::now() > limit) ::kill(child, SIGKILL);
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    End end{WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), content_of(log),
            std::chrono::duration<double>(steady_clock::now() - start).count()};
    fs::remove(log);
    return end;
  }

  // Beside the model (and an old export).
  [[nodiscard]] std::ptrdiff_t entries() const { return std::distance(fs::directory_iterator(folder_.path()), {}); }

  TemporaryFolder folder_;
  fs::path model_ = folder_.path() / "model", out_ = folder_.path() / "a/out";
};

TEST_F(Program, SignalsWhileABlockIsTunedLeaveTheOldExportOrNothing) {
  for (const bool over_old : {false, true}) {
    if (over_old) ASSERT_EQ(cli_test::program(command({"--recipe", "rtn"})).exit_code, 0);
    const auto old = over_old ? tree_of(out_) : std::map<std::string, std::string>();
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
      const End end = end_of(long_run(), [signal](pid_t child) { ::kill(child, signal); });
      EXPECT_EQ(end.exit_code, 130) << end.messages;
      EXPECT_LT(end.seconds, 20) << "generous for a loaded machine";
      EXPECT_TRUE(contains(end.messages, "interrupted")) << end.messages;
      EXPECT_FALSE(contains(end.messages, "block 1/2")) << "the first block is still being tuned";
      EXPECT_EQ(entries(), over_old ? 2 : 1) << "something is left";
      if (over_old) {
        EXPECT_EQ(tree_of(out_), old);
        EXPECT_EQ(std::distance(fs::directory_iterator(out_.parent_path()), {}), 1);
      }
    }
  }
}

TEST_F(Program, AKilledRunIsClearedByTheNext) {
  const End end = end_of(long_run(), [](pid_t child) { ::kill(child, SIGKILL); });
  EXPECT_EQ(end.exit_code, 128 + SIGKILL);
  EXPECT_FALSE(fs::exists(out_));
  EXPECT_TRUE(fs::exists(out_.parent_path() / ".out.arkit-part"));
  const cli_test::Outcome next = cli_test::program(command({"--recipe", "rtn"}));
  EXPECT_EQ(next.exit_code, 0) << next.err;
  EXPECT_TRUE(contains(next.err, "an earlier run was killed here")) << next.err;
  EXPECT_EQ(std::distance(fs::directory_iterator(out_.parent_path()), {}), 1);
}

TEST_F(Program, ASourceCutShortWhileABlockIsTunedIsAnInputError) {
  const std::vector<std::string> words =
      command({"--dataset", "self", "--nsamples", "4", "--seqlen", "32", "--iters", "200"});
  const End end = end_of(words, [this](pid_t) { fs::resize_file(model_ / "model.safetensors", 4096); });
  EXPECT_EQ(end.exit_code, 3) << end.messages;
  EXPECT_TRUE(contains(end.messages, "model.safetensors")) << end.messages;
  EXPECT_EQ(entries(), 1) << "something is left";
}

// Whoever starts a program with closed descriptors must not find its messages in the weights.
TEST_F(Program, ClosedDescriptorsDoNotBecomeFilesOfTheExport) {
  ASSERT_EQ(cli_test::program(command({"--recipe", "rtn"})).exit_code, 0);
  const std::string wanted = content_of(out_ / "model.safetensors");
  std::string line;
  for (const std::string& word : command({"--recipe", "rtn", "--force"})) line += "'" + word + "' ";
  for (const char* closed : {"<&- >&- 2>&-", "2>&-", ">&-", "<&-"}) {
    EXPECT_EQ(cli_test::program({"sh", "-c", "exec " + line + closed}).exit_code, 0) << closed;
    EXPECT_TRUE(content_of(out_ / "model.safetensors") == wanted) << closed;
  }
}

TEST_F(Program, OptionsAreSavedWholeOrNotAtAll) {
  const fs::path file = folder_.path() / "options.toml";
  std::ofstream(file) << "precious";
  const std::vector<std::string> words = command({"--dry_run", "--save_config", file.string()});
  const cli_test::Outcome full =
      cli_test::program({"sh", "-c", "ulimit -f 0; trap '' XFSZ; exec \"$0\" \"$@\"", words[0], words[1], words[2],
                         words[3], words[4], words[5], words[6], words[7]});
  EXPECT_EQ(full.exit_code, 5) << full.err;
  EXPECT_EQ(content_of(file), "precious");
  EXPECT_EQ(cli_test::program(words).exit_code, 0);
  EXPECT_TRUE(contains(content_of(file), "scheme = "));
  EXPECT_EQ(cli_test::program(command({"--dry_run", "--save_config", "/dev/null"})).exit_code, 5);
  EXPECT_FALSE(fs::is_regular_file("/dev/null"));
}

// What was asked for is there; only its summary is not. With --json the summary was asked for, too.
TEST_F(Program, AnExportIsCompleteWhereItsSummaryCannotBePrinted) {
  const std::vector<std::string> words = command({"--recipe", "rtn", "--force"});
  const auto shell = [](const std::string& line, const std::vector<std::string>& arguments) {
    std::vector<std::string> all{"sh", "-c", line, "sh"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return cli_test::program(all);
  };
  cli_test::Outcome run = shell("exec \"$@\" > /dev/full", words);
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_TRUE(contains(run.err, "the export is complete: '" + out_.string() + "'")) << run.err;
  EXPECT_TRUE(contains(run.err, "standard output")) << run.err;
  run = shell("exec \"$@\" --json > /dev/full", words);
  EXPECT_EQ(run.exit_code, 5) << run.err;
  EXPECT_TRUE(contains(run.err, "the export is complete: '" + out_.string() + "'")) << run.err;
  run = shell("exec \"$@\" > /dev/full 2>&1", words);
  EXPECT_EQ(run.exit_code, 0);
  const fs::path other = folder_.path() / "b/out";
  run = shell("exec \"$@\" > /dev/full",
              {ARKIT_BINARY, "convert", out_.string(), "--format", "auto_gptq", "--output_dir", other.string()});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_TRUE(contains(run.err, "the export is complete: '" + other.string() + "'")) << run.err;
  run = shell("exec \"$@\" --dry_run > /dev/full", words);
  EXPECT_EQ(run.exit_code, 5) << "nothing is there but the text";
  EXPECT_FALSE(contains(run.err, "complete"));
}

// Nobody reads the progress any more: that is no reason to stop, and nothing is left behind.
TEST_F(Program, AReaderOfProgressThatWentAwayEndsNoRun) {
  std::string line;
  for (const std::string& word : command({"--recipe", "rtn"})) line += "'" + word + "' ";
  const fs::path code = folder_.path() / "code";
  (void)cli_test::program({"sh", "-c", "{ " + line + "; echo $? > '" + code.string() + "'; } 2>&1 | true"});
  EXPECT_EQ(content_of(code), "0\n");
  EXPECT_TRUE(fs::exists(out_ / "arkit-run.json"));
  EXPECT_EQ(std::distance(fs::directory_iterator(out_.parent_path()), {}), 1);
  // Where the text is all there is, the end is that of any other program.
  const std::string list = "{ '" ARKIT_BINARY "' list formats; echo $? > '" + code.string() + "'; } | true";
  (void)cli_test::program({"sh", "-c", list});
  EXPECT_TRUE(content_of(code) == "141\n" || content_of(code) == "0\n") << content_of(code) << "0: it was quicker";
}

// Starts the program, asks until `is_time`, sends the signal; the program's children are gone with it.
class EarlySignal : public Program {
 protected:
  static std::string of_process(pid_t process, const std::string& file) {
    return content_of(fs::path("/proc") / std::to_string(process) / file);
  }
  static std::string children_of(pid_t process) {
    return of_process(process, "task/" + std::to_string(process) + "/children");
  }

  // False where the moment was missed: the program was at its end.
  bool interrupt(const std::vector<std::string>& words, int signal, const std::function<bool(pid_t)>& is_time) {
    const fs::path log = folder_.path() / "log";
    const pid_t child = started(words, log, [this] {
      ::setenv("XDG_CACHE_HOME", cache_.path().c_str(), 1);  // plugins are tried anew
    });
    const auto limit = steady_clock::now() + std::chrono::seconds(60);
    int status = 0;
    bool in_time = true;
    while (!is_time(child) && in_time && steady_clock::now() < limit) {
      in_time = ::waitpid(child, &status, WNOHANG) == 0;
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
    const std::string children = in_time ? children_of(child) : std::string();
    if (in_time) {
      ::kill(child, signal);
      ::waitpid(child, &status, 0);
      EXPECT_TRUE(WIFEXITED(status)) << "ended by signal " << WTERMSIG(status);
      EXPECT_EQ(WEXITSTATUS(status), 130) << content_of(log);
      EXPECT_TRUE(contains(content_of(log), "arkit: interrupted")) << content_of(log);
    }
    std::istringstream list(children);
    for (pid_t helper = 0; list >> helper;) EXPECT_NE(::kill(helper, 0), 0) << "a helper process is left";
    fs::remove(log);
    return in_time;
  }

  TemporaryFolder cache_;
};

TEST_F(EarlySignal, EndsTheProgramWhileItsLibrariesAreOpened) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    const auto opening = [](pid_t process) { return contains(of_process(process, "maps"), "libarkit_cli.so"); };
    EXPECT_TRUE(interrupt(command({"--recipe", "rtn"}), signal, opening)) << "the program ended before it was seen";
    EXPECT_TRUE(interrupt({ARKIT_BINARY, "list", "formats", "--json"}, signal, opening));
    EXPECT_EQ(entries(), 1) << "something is left";
  }
}

TEST_F(EarlySignal, EndsTheProgramWhilePluginsAreTried) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    fs::remove_all(cache_.path() / "arkit");
    const bool seen =
        interrupt(command({"--recipe", "rtn"}), signal, [](pid_t process) { return !children_of(process).empty(); });
    if (!seen) GTEST_SKIP() << "no helper process was seen: it was too quick, or this kernel lists no children";
    EXPECT_EQ(entries(), 1) << "something is left";
  }
}

}  // namespace
}  // namespace arkit
