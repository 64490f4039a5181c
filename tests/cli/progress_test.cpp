// What a long step looks like: as text, on a terminal (a pseudo terminal here), in a log, and as events.
#include <cstdlib>
#include <map>
#include <set>

#include <gtest/gtest.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <arkit/json.h>
#include <arkit/str.h>

#include "progress_text.h"
#include "run_program.h"
#include "temporary_folder.h"

using arkit::Progress;
using arkit::cli::fitting_text;
using arkit::cli::Pace;
using arkit::cli::PaceKeeper;
using arkit::cli::progress_text;
using arkit::testing::TemporaryFolder;
using cli_test::contains;
using cli_test::Outcome;
using cli_test::run_arkit;

namespace {

namespace json = arkit::json;
using namespace std::chrono_literals;

const std::string kModel = std::string(ARKIT_TEST_DATA) + "/golden/source-llama-bf16";

struct OnTerminal {
  int exit_code = -1;
  std::string text;
};

// The real program on a terminal of so many columns.
OnTerminal on_terminal(std::vector<std::string> words, unsigned short columns, const char* told = "") {
  words.insert(words.begin(), ARKIT_BINARY);
  int terminal = -1;
  winsize size{};
  size.ws_row = 24;
  size.ws_col = columns;
  const pid_t child = ::forkpty(&terminal, nullptr, nullptr, &size);
  if (child == 0) {
    ::setenv("TERM", "xterm", 1);
    ::setenv("COLUMNS", told, 1);
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  OnTerminal run;
  char buffer[4096];
  for (ssize_t n = 0; (n = ::read(terminal, buffer, sizeof(buffer))) > 0;)
    run.text.append(buffer, static_cast<size_t>(n));
  int status = 0;
  ::waitpid(child, &status, 0);
  ::close(terminal);
  run.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return run;
}

std::vector<std::string> rounding(const TemporaryFolder& folder, const std::string& name) {
  return {"quantize", kModel,     "--scheme", "W4A16",        "--group_size",
          "32",       "--recipe", "rtn",      "--output_dir", (folder.path() / name).string()};
}

std::vector<std::string> tuning(const TemporaryFolder& folder, const std::string& name) {
  return {"quantize",     kModel, "--scheme",     "W4A16",
          "--group_size", "32",   "--iters",      "3",
          "--dataset",    "self", "--nsamples",   "4",
          "--seqlen",     "32",   "--output_dir", (folder.path() / name).string()};
}

std::vector<std::string> operator+(std::vector<std::string> left, const std::vector<std::string>& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

}  // namespace

TEST(ProgressText, ShowsPartAmountRateAndTimeLeft) {
  const Progress bytes{"hashing", 1'500'000'000, 3'000'000'000, arkit::kBytes};
  EXPECT_EQ(progress_text(bytes, {.seconds = 10, .per_second = 150e6, .seconds_left = 10.0}, 0.5e9, 10),
            "hashing  [#####.....]  50%  1.50 GB of 3.00 GB  150.00 MB/s  left 10.0 s  peak 500.00 MB");
  const Progress layers{"rounding", 7, 28, "layers"};
  EXPECT_EQ(progress_text(layers, {}, 0.5e9, 4), "rounding  [#...]  25%  7/28 layers  peak 500.00 MB");
  EXPECT_EQ(progress_text(layers, {.seconds = 2, .per_second = 3.5}, 0.5e9, 0),
            "rounding  25%  7/28 layers  3.5 layers/s  peak 500.00 MB");
  EXPECT_EQ(progress_text({"reading", 12, 0, "files"}, {}, 1e6, 10), "reading  12 files  peak 1.00 MB");
  EXPECT_EQ(progress_text({"a", 5, 4, ""}, {}, 1e6, 2), "a  [##]  100%  5/4  peak 1.00 MB") << "more than all";
}

TEST(ProgressText, LeavesOutWhatHasNoRoom) {
  const Progress bytes{"downloading 4 files", 1'500'000'000, 3'000'000'000, arkit::kBytes};
  const Pace pace{.seconds = 10, .per_second = 150e6, .seconds_left = 10.0};
  const std::string whole = fitting_text(bytes, pace, 0.5e9, 200);
  EXPECT_EQ(whole, progress_text(bytes, pace, 0.5e9, 20));
  EXPECT_EQ(fitting_text(bytes, pace, 0.5e9, whole.size()), whole);
  EXPECT_EQ(fitting_text(bytes, pace, 0.5e9, whole.size() - 1), progress_text(bytes, pace, 0, 20));
  for (const size_t columns : {200, 100, 90, 79, 70, 40, 20, 9}) {
    const std::string text = fitting_text(bytes, pace, 0.5e9, columns);
    EXPECT_LE(text.size(), columns) << text;
    EXPECT_TRUE(contains(text, columns >= 79 ? "left 10.0 s" : "down")) << text;
  }
}

TEST(ProgressText, RatesAreOfWhatWasDoneSinceTheBegin) {
  PaceKeeper keeper;
  const PaceKeeper::Time start{};
  // A transfer that goes on where another one broke off.
  EXPECT_FALSE(keeper.note({"load", 600, 1000}, start).per_second);
  const Pace later = keeper.note({"load", 700, 1000}, start + 2s);
  EXPECT_EQ(later.per_second, 50.0);
  EXPECT_EQ(later.seconds_left, 6.0);
  EXPECT_FALSE(keeper.note({"other", 1, 2}, start + 2s).per_second) << "a bar of its own";
  EXPECT_FALSE(keeper.note({"load", 0, 1000}, start + 3s).per_second) << "it began again";
  EXPECT_EQ(keeper.note({"load", 1000, 1000}, start + 4s).seconds_left, std::nullopt);
  EXPECT_EQ(keeper.note({"load", 10, 1000}, start + 9s).seconds, 0.0) << "and is forgotten when done";
}

TEST(Progress, OnATerminalIsABarThatIsRewritten) {
  const TemporaryFolder folder;
  const OnTerminal run = on_terminal(rounding(folder, "out"), 100);
  EXPECT_EQ(run.exit_code, 0) << run.text;
  EXPECT_TRUE(contains(run.text, "\r\033[Krounding and writing  [####################]  100%  14/14 layers"))
      << run.text;
  EXPECT_TRUE(contains(run.text, "  peak ")) << run.text;
  EXPECT_FALSE(contains(run.text, "block 1/")) << "blocks without a loss have no line of their own\n" << run.text;
  // Narrow ones have no bar, and no line is longer than the terminal.
  const OnTerminal narrow = on_terminal(rounding(folder, "narrow"), 40);
  EXPECT_TRUE(contains(narrow.text, "rounding and writing  100%  14/14")) << narrow.text;
  EXPECT_FALSE(contains(narrow.text, "[##"));
  const size_t at = narrow.text.find("\033[Krounding");
  EXPECT_LE(narrow.text.find_first_of("\r\n", at) - at - 3, 40U);
  EXPECT_FALSE(contains(on_terminal(rounding(folder, "quiet") + std::vector<std::string>{"--quiet"}, 100).text, "%"));
  // One that does not know how wide it is.
  EXPECT_FALSE(contains(on_terminal(rounding(folder, "told"), 0, "30").text, "[##"));
  EXPECT_TRUE(contains(on_terminal(rounding(folder, "usual"), 0).text, "[##"));
}

TEST(Progress, TuningHasABarOfStepsAndKeepsTheLosses) {
  const TemporaryFolder folder;
  const OnTerminal run = on_terminal(tuning(folder, "out"), 100);
  EXPECT_EQ(run.exit_code, 0) << run.text;
  EXPECT_TRUE(contains(run.text, "3/3 steps")) << run.text;
  EXPECT_TRUE(contains(run.text, "writing calibration samples  [")) << run.text;
  EXPECT_TRUE(contains(run.text, "block 2/2  loss ")) << run.text;
}

TEST(Progress, InALogAreLinesWithoutControlCharacters) {
  const TemporaryFolder folder;
  const Outcome run = run_arkit(rounding(folder, "out"));
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.err.find_first_of("\r\033"), std::string::npos) << run.err;
  EXPECT_TRUE(contains(run.err, "block 2/2  ")) << run.err;
  EXPECT_EQ(run_arkit(rounding(folder, "quiet") + std::vector<std::string>{"--quiet"}).err, "");
  // The same on a terminal that is asked for it.
  EXPECT_FALSE(contains(
      on_terminal(rounding(folder, "lines") + std::vector<std::string>{"--progress", "lines"}, 100).text, "\033"));
}

TEST(Progress, EventsAreOneObjectALine) {
  const TemporaryFolder folder;
  const Outcome run = run_arkit(tuning(folder, "out") + std::vector<std::string>{"--progress", "json", "--json",
                                                                                 "--adam", "--low_gpu_mem_usage"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_TRUE(json::parse(run.out, "stdout").as_object().contains("outputs"));
  const std::map<std::string, std::set<std::string>> members{
      {"step", {"text"}},
      {"info", {"text"}},
      {"warning", {"text"}},
      {"progress", {"what", "done", "total", "unit", "per_second", "seconds_left", "peak_bytes"}},
      {"block",
       {"block", "blocks", "seconds", "seconds_left", "loss_before", "loss_after", "best_iter", "tokens_per_second",
        "peak_bytes"}},
      {"end", {"exit_code"}}};
  std::map<std::string, int> seen;
  std::map<std::string, int64_t> last;
  double time = 0.0;
  std::vector<std::string> lines = arkit::split(run.err, '\n');
  ASSERT_TRUE(lines.back().empty());
  lines.pop_back();
  for (const std::string& line : lines) {
    const json::Value parsed = json::parse(line, "event");
    const json::Object& event = parsed.as_object();
    const std::string name(event.at("event").as_string());
    ++seen[name];
    EXPECT_GE(event.at("time").to_number<double>(), time);
    time = event.at("time").to_number<double>();
    ASSERT_TRUE(members.contains(name)) << line;
    EXPECT_EQ(event.size(), members.at(name).size() + 2) << line;
    for (const std::string& member : members.at(name)) EXPECT_TRUE(event.contains(member)) << member << line;
    if (name == "progress") {
      const std::string what(event.at("what").as_string());
      const int64_t done = event.at("done").to_number<int64_t>();
      EXPECT_GE(done, last[what]) << line;
      last[what] = done == event.at("total").to_number<int64_t>() ? 0 : done;  // it may come again
    }
    if (name == "block") {
      EXPECT_EQ(event.at("blocks").to_number<int64_t>(), 2);
      EXPECT_GT(event.at("loss_before").to_number<double>(), 0.0);
    }
  }
  EXPECT_EQ(seen["block"], 2);
  EXPECT_EQ(seen["end"], 1);
  EXPECT_GE(seen["step"], 3);
  EXPECT_GE(seen["info"], 1);
  EXPECT_GE(seen["progress"], 4);
  for (const auto& [what, done] : last) EXPECT_EQ(done, 0) << what << " did not come to its end";
}

TEST(Progress, ErrorsAreEventsToo) {
  const auto error_of = [](const Outcome& run) {
    const std::string line = run.err.substr(run.err.rfind('\n', run.err.size() - 2) + 1);
    return json::parse(line, "error").as_object();
  };
  // Of the front, of a command, with a text that is hostile.
  const json::Object usage = error_of(run_arkit({"quantize", "m", "--itres", "5", "--progress", "json"}));
  EXPECT_EQ(usage.at("event").as_string(), "error");
  EXPECT_EQ(usage.at("code").as_int64(), 2);
  EXPECT_EQ(usage.at("kind").as_string(), "usage");
  EXPECT_TRUE(contains(std::string(usage.at("message").as_string()), "'--itres'"));
  const Outcome missing = run_arkit({"quantize", "/no/such\n\033[1mfolder", "--progress=json"});
  EXPECT_EQ(error_of(missing).at("code").as_int64(), 3);
  for (const std::string& line : arkit::split(missing.err, '\n'))
    if (!line.empty()) EXPECT_NO_THROW((void)json::parse(line, "event")) << line;
}

// What is rounded at a time, without a family a layer or a fused group, is not what people call a block.
TEST(Progress, BlocksAreDecoderBlocks) {
  const TemporaryFolder folder;
  for (const char* way : {"--model_free", "--disable_model_free"}) {
    const Outcome run = run_arkit(rounding(folder, way) + std::vector<std::string>{way});
    EXPECT_EQ(run.exit_code, 0) << run.err;
    EXPECT_TRUE(contains(run.err, "block 2/2  ")) << way << run.err;
    EXPECT_FALSE(contains(run.err, "block 3/")) << way << run.err;
    const Outcome plan = run_arkit(rounding(folder, "plan") + std::vector<std::string>{way, "--dry_run", "--json"});
    EXPECT_EQ(json::parse(plan.out, "plan").at("blocks").as_int64(), 2) << way;
  }
}
