// Programs that are started, listened to, and never left behind.
#include "harness/child_process.h"

#include <chrono>
#include <csignal>
#include <fstream>
#include <thread>

#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <arkit/error.h>
#include <arkit/log.h>

#include "temporary_folder.h"

namespace arkit::harness {
namespace {

using arkit::testing::TemporaryFolder;
using Lines = std::vector<std::string>;

struct Heard {
  Lines out, err;
  std::string ended;
};

Heard run(const ChildCommand& command) {
  Heard heard;
  ChildProcess child(command);
  heard.ended = child.follow({.out = [&](const std::string& line) { heard.out.push_back(line); },
                              .err = [&](const std::string& line) { heard.err.push_back(line); }});
  return heard;
}

Heard shell(const std::string& script) {
  return run({.argv = {"/bin/sh", "-c", script}, .input = {}});
}

bool is_alive(pid_t process) {
  return ::kill(process, 0) == 0;
}

// The numbers a program has written, once it has.
std::vector<pid_t> numbers_in(const std::filesystem::path& file) {
  std::vector<pid_t> numbers;
  for (int i = 0; i < 500 && numbers.size() < 2; ++i) {
    numbers.clear();
    std::ifstream in(file);
    for (pid_t number = 0; in >> number;) numbers.push_back(number);
    if (numbers.size() < 2) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return numbers;
}

void expect_gone(const std::vector<pid_t>& processes) {
  ASSERT_EQ(processes.size(), 2U);
  for (const pid_t process : processes) {
    for (int i = 0; i < 300 && is_alive(process); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    EXPECT_FALSE(is_alive(process)) << process;
  }
}

// Two processes of a group, whose numbers are in `file`.
ChildCommand two_sleepers(const std::filesystem::path& file) {
  return {.argv = {"/bin/sh", "-c", "sleep 60 & echo $$ $! > \"$1.part\"; mv \"$1.part\" \"$1\"; wait", "sh",
                   file.string()},
          .input = {}};
}

TEST(ChildProcess, IsHeardLineByLine) {
  const Heard heard = run({.argv = {"/bin/sh", "-c", "cat; printf 'a\\rb\\n\\nc' >&2; echo \"$X\"; printf '%s' \"$1\"",
                                    "sh", "a 'b' \"c\" $(echo d); `e`"},
                           .input = "first\nsecond\n",
                           .environment = {{"X", "set"}}});
  EXPECT_EQ(heard.out, (Lines{"first", "second", "set", "a 'b' \"c\" $(echo d); `e`"}));
  EXPECT_EQ(heard.err, (Lines{"a", "b", "c"}));
  EXPECT_EQ(heard.ended, "");
}

TEST(ChildProcess, TakesInputLargerThanAPipe) {
  const std::string line(1000, 'x');
  std::string input;
  for (int i = 0; i < 2000; ++i) input += line + "\n";
  EXPECT_EQ(run({.argv = {"/bin/cat"}, .input = input}).out, Lines(2000, line));
}

TEST(ChildProcess, SaysHowItEnded) {
  EXPECT_EQ(shell("exit 3").ended, "ended with exit code 3");
  EXPECT_TRUE(shell("kill -9 $$").ended.starts_with("was ended by signal 9"));
  const Heard missing = run({.argv = {"/no/such/program"}, .input = {}});
  EXPECT_EQ(missing.ended, "ended with exit code 127");
  EXPECT_EQ(missing.err.size(), 1U) << "the reason";
}

// It ended, though somebody it started holds its output.
TEST(ChildProcess, WaitsForNobodyElse) {
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(shell("sleep 30 & echo done").out, Lines{"done"});
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
}

TEST(ChildProcess, EndsWithAllItStartedOnAnInterrupt) {
  const TemporaryFolder folder;
  const std::filesystem::path file = folder.path() / "pids";
  std::vector<pid_t> processes;
  try {
    ChildProcess child(two_sleepers(file));
    processes = numbers_in(file);
    request_interrupt();
    (void)child.follow({.out = [](const std::string&) {}, .err = [](const std::string&) {}});
    ADD_FAILURE() << "went on";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::interrupted);
  }
  clear_interrupt();
  expect_gone(processes);
}

TEST(ChildProcess, EndsWhenTheListenerThrows) {
  const TemporaryFolder folder;
  const std::filesystem::path file = folder.path() / "pids";
  std::vector<pid_t> processes;
  const auto follow = [&] {
    ChildProcess child(two_sleepers(file));
    processes = numbers_in(file);
    (void)child.follow({.out = [](const std::string&) {},
                        .err = [](const std::string&) {},
                        .meanwhile = [] { throw_resource("the server is gone"); }});
  };
  EXPECT_THROW(follow(), Error);
  expect_gone(processes);
}

// Killed without a chance to say anything.
TEST(ChildProcess, DoesNotOutliveUs) {
  const TemporaryFolder folder;
  const std::filesystem::path file = folder.path() / "pids";
  const pid_t us = ::fork();
  if (us == 0) {
    const ChildProcess child(
        {.argv = {"/bin/sh", "-c", "echo $$ 1 > \"$1\"; exec sleep 60", "sh", file.string()}, .input = {}});
    for (;;) ::pause();
  }
  const std::vector<pid_t> processes = numbers_in(file);
  ASSERT_EQ(processes.size(), 2U);
  EXPECT_TRUE(is_alive(processes.front()));
  ::kill(us, SIGKILL);
  ::waitpid(us, nullptr, 0);
  for (int i = 0; i < 300 && is_alive(processes.front()); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_FALSE(is_alive(processes.front()));
}

}  // namespace
}  // namespace arkit::harness
