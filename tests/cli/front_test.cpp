// What the front answers without the core: help, version, usage errors.
#include <algorithm>
#include <filesystem>

#include <gtest/gtest.h>

#include <arkit/json.h>

#include "commands.h"
#include "run_program.h"

using cli_test::contains;
using cli_test::Outcome;
using cli_test::run_arkit;

namespace {

void expect_usage_error(const std::vector<std::string>& arguments, const std::string& message) {
  const Outcome run = run_arkit(arguments);
  EXPECT_EQ(run.exit_code, 2) << run.err;
  EXPECT_EQ(run.err, "arkit: " + message + "\n");
  EXPECT_EQ(run.out, "");
}

}  // namespace

TEST(CliFront, AnswersVersionAndHelpQuicklyAndOnStdout) {
  // Generous for a loaded machine; the front itself needs about 10 ms, LibTorch alone would take 200.
  constexpr double kSeconds = 0.15;
  double best = 1e9;
  for (int i = 0; i < 5; ++i) {
    const Outcome version = run_arkit({"--version"});
    EXPECT_EQ(version.exit_code, 0);
    EXPECT_EQ(version.out, "arkit " ARKIT_VERSION "\n");
    const Outcome help = run_arkit({"quantize", "--help"});
    EXPECT_EQ(help.exit_code, 0);
    EXPECT_EQ(help.err, "");
    best = std::min(best, std::max(version.seconds, help.seconds));
  }
  EXPECT_LT(best, kSeconds);
}

TEST(CliFront, DoesNotLinkTorchOrTheCore) {
  const Outcome run = cli_test::program({"ldd", ARKIT_BINARY});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_TRUE(contains(run.out, "libstdc++"));
  EXPECT_FALSE(contains(run.out, "torch")) << run.out;
  EXPECT_FALSE(contains(run.out, "libc10")) << run.out;
  EXPECT_FALSE(contains(run.out, "libarkit")) << run.out;
}

TEST(CliFront, HelpNamesEveryCommandOptionAndDefault) {
  const Outcome overview = run_arkit({"--help"});
  EXPECT_EQ(overview.exit_code, 0);
  EXPECT_TRUE(contains(overview.out, "Exit codes: 0 done"));
  for (const arkit::cli::Command& command : arkit::cli::commands()) {
    EXPECT_TRUE(contains(overview.out, "\n  " + std::string(command.name))) << command.name;
    if (command.name == "help") continue;
    std::vector<std::string> arguments{"help"};
    const size_t blank = command.name.find(' ');
    arguments.emplace_back(command.name.substr(0, blank));
    if (blank != std::string_view::npos) arguments.emplace_back(command.name.substr(blank + 1));
    const Outcome help = run_arkit(arguments);
    EXPECT_EQ(help.exit_code, 0) << command.name;
    for (const arkit::cli::Option& option : command.options) {
      EXPECT_TRUE(contains(help.out, "--" + std::string(option.name))) << option.name;
      EXPECT_NE(option.help, "") << option.name;
    }
  }
  EXPECT_TRUE(contains(run_arkit({"quantize", "-h"}).out, "[W4A16]"));
  EXPECT_EQ(run_arkit({}).out, overview.out);
}

// A word that only begins commands has a help of its own.
TEST(CliFront, GroupsOfCommandsHaveHelp) {
  for (const char* group : {"eval", "models", "plugin"}) {
    for (const std::vector<std::string>& words :
         {std::vector<std::string>{group, "--help"}, {group, "-h"}, {"--quiet", group, "--help"}, {"help", group}}) {
      const Outcome help = run_arkit(words);
      EXPECT_EQ(help.exit_code, 0) << group << help.err;
      EXPECT_EQ(help.err, "");
      EXPECT_TRUE(help.out.starts_with("arkit " + std::string(group) + " is one of\n")) << help.out;
      for (const arkit::cli::Command& command : arkit::cli::commands()) {
        const bool of_it = command.name.starts_with(std::string(group) + " ");
        EXPECT_EQ(contains(help.out, "\n  arkit " + std::string(command.name) + " "), of_it) << command.name;
      }
    }
  }
  EXPECT_TRUE(run_arkit({"eval", "ppl", "--help"}).out.starts_with("arkit eval ppl MODEL"));
  EXPECT_EQ(run_arkit({"eval"}).exit_code, 2);
  EXPECT_EQ(run_arkit({"evil", "--help"}).exit_code, 2);
}

TEST(CliFront, SuggestsTheNearestCommandOptionAndKind) {
  expect_usage_error({"quantise", "m"},
                     "unknown command 'quantise'; did you mean 'quantize'? ('arkit --help' shows all)");
  expect_usage_error({"quantize", "m", "--itrs", "5"},
                     "unknown option '--itrs'; did you mean '--iters'? ('arkit quantize --help' shows all)");
  expect_usage_error({"generate", "m", "--promt", "x"},
                     "unknown option '--promt'; did you mean '--prompt'? ('arkit generate --help' shows all)");
  expect_usage_error({"eval", "ppx", "m"},
                     "unknown eval command 'ppx'; did you mean 'ppl'? ('arkit --help' shows all)");
}

TEST(CliFront, SaysWhoseOptionItIs) {
  for (const char* option : {"tensor_type", "output-tensor-type", "token_embedding_type", "split_max_size"}) {
    std::string name = option;
    std::replace(name.begin(), name.end(), '-', '_');
    expect_usage_error({"convert", "m", "--format", "gguf", std::string("--") + option, "q8_0"},
                       "'arkit convert' has no option '--" + name +
                           "', 'arkit quantize' has; use that to round a model ('arkit convert --help' shows all)");
  }
}

TEST(CliFront, SaysWhatIsMissingOrTooMuch) {
  expect_usage_error({"quantize"}, "'arkit quantize' needs MODEL ('arkit quantize --help' shows how)");
  expect_usage_error({"quantize", "m", "n"},
                     "unexpected argument 'n' of 'arkit quantize'; quote values that contain blanks");
  expect_usage_error({"quantize", "m", "--scheme"}, "--scheme needs a value ('arkit quantize --help' shows its form)");
  expect_usage_error({"plugin"}, "'arkit plugin' needs one of 'inspect', 'new' ('arkit --help' shows all)");
  expect_usage_error({"--quiet"}, "a command is missing ('arkit --help' shows all)");
}

TEST(CliFront, ChecksTypesChoicesAndContradictions) {
  expect_usage_error({"quantize", "m", "--iters", "abc"}, "--iters: 'abc' is not a whole number");
  expect_usage_error({"quantize", "m", "--lr", "1e999"}, "--lr: '1e999' is not a number");
  expect_usage_error({"quantize", "m", "--max_shard_size", "5TB"},
                     "--max_shard_size: '5TB' is not a size such as 5GB, 3GiB, 200MB or 64KB");
  expect_usage_error({"quantize", "m", "--on_indivisible", "stop"},
                     "--on_indivisible: 'stop' is not one of 'error', 'skip', 'pad'");
  expect_usage_error({"quantize", "m", "--sym", "--asym"}, "--sym and --asym contradict each other; give one");
  expect_usage_error({"quantize", "m", "--bits", "3", "--bits", "4"}, "--bits is given twice, as '3' and as '4'");
}

TEST(CliFront, UsageErrorsAreJsonWhenAskedFor) {
  const Outcome run = run_arkit({"quantize", "--json", "m", "--itres", "5"});
  EXPECT_EQ(run.exit_code, 2);
  const auto error = arkit::json::parse(run.out, "stdout").at("error");
  EXPECT_EQ(arkit::json::parse(run.out, "stdout").at("schema_version").as_int64(), 1);
  EXPECT_EQ(error.at("code").as_int64(), 2);
  EXPECT_EQ(error.at("kind").as_string(), "usage");
  EXPECT_TRUE(contains(std::string(error.at("message").as_string()), "'--itres'"));
}

TEST(CliFront, ControlCharactersOfTheCommandLineAreEscaped) {
  const Outcome run = run_arkit({"quantize", "m", "--iters", "\033[31m5"});
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_FALSE(contains(run.err, "\033"));
}

TEST(CliFront, UnwritableOutputIsAnError) {
  const Outcome run = cli_test::program({"sh", "-c", std::string(ARKIT_BINARY) + " --help > /dev/full"});
  EXPECT_EQ(run.exit_code, 5);
}
