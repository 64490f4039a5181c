// What the program says of itself to shells and to man: made from the table of commands, so that all of it is there.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <arkit/str.h>

#include "commands.h"
#include "run_program.h"
#include "temporary_folder.h"

using arkit::cli::Command;
using arkit::cli::commands;
using arkit::cli::common_options;
using arkit::cli::Option;
using arkit::testing::TemporaryFolder;
using cli_test::contains;
using cli_test::Outcome;
using cli_test::program;
using cli_test::run_arkit;

namespace {

namespace fs = std::filesystem;

bool has_program(const std::string& name) {
  return program({"sh", "-c", "command -v " + name}).exit_code == 0;
}

std::vector<Option> all_options(const Command& command) {
  std::vector<Option> all = command.options;
  all.insert(all.end(), common_options().begin(), common_options().end());
  return all;
}

std::string replaced(std::string text, const std::string& what, const std::string& by) {
  for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += by.size())
    text.replace(at, what.size(), by);
  return text;
}

// What bash offers at the end of these words.
std::vector<std::string> offered(const TemporaryFolder& folder, const std::vector<std::string>& words) {
  std::string script = "source " + (folder.path() / "arkit.bash").string() + "\nCOMP_WORDS=(";
  for (const std::string& word : words) script += " '" + word + "'";
  script += ")\nCOMP_CWORD=" + std::to_string(words.size() - 1) + "\n_arkit\nprintf '%s\\n' \"${COMPREPLY[@]}\"\n";
  const Outcome run = program({"bash", folder.write("ask.bash", script).string()});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.err, "");
  std::vector<std::string> words_offered = arkit::split(run.out, '\n');
  std::erase(words_offered, "");
  return words_offered;
}

bool has(const std::vector<std::string>& all, const std::string& one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

}  // namespace

TEST(Completions, OfBashOfferEveryCommandOptionAndChoice) {
  const TemporaryFolder folder;
  folder.write("arkit.bash", run_arkit({"completions", "bash"}).out);
  const std::vector<std::string> first = offered(folder, {"arkit", ""});
  for (const Command& command : commands()) {
    const std::vector<std::string> words = arkit::split(command.name, ' ');
    EXPECT_TRUE(has(first, words.front())) << command.name;
    if (words.size() == 2) {
      EXPECT_TRUE(has(offered(folder, {"arkit", words[0], ""}), words[1])) << command.name;
    }
    std::vector<std::string> line{"arkit"};
    line.insert(line.end(), words.begin(), words.end());
    line.emplace_back("--");
    const std::vector<std::string> names = offered(folder, line);
    for (const Option& option : all_options(command)) {
      EXPECT_TRUE(has(names, "--" + std::string(option.name))) << command.name << " " << option.name;
      if (option.choices.empty()) continue;
      line.back() = "--" + std::string(option.name);
      line.emplace_back("");
      EXPECT_EQ(offered(folder, line), arkit::split(option.choices, ' ')) << command.name << " " << option.name;
      line.pop_back();
      line.back() = "--";
    }
  }
}

TEST(Completions, OfBashKnowWhereTheyAre) {
  const TemporaryFolder folder;
  folder.write("arkit.bash", run_arkit({"completions", "bash"}).out);
  const std::vector<std::string> types{"bfloat16", "bf16"};
  EXPECT_EQ(offered(folder, {"arkit", "quantize", "m", "--scale_dtype", "b"}), types);
  EXPECT_EQ(offered(folder, {"arkit", "quantize", "m", "--scale-dtype", "b"}), types);  // '-' is '_'
  EXPECT_EQ(offered(folder, {"arkit", "quantize", "m", "--scale_dtype", "=", "b"}), types);
  // Names as they were begun.
  EXPECT_EQ(offered(folder, {"arkit", "quantize", "m", "--score-nsam"}), std::vector<std::string>{"--score-nsamples"});
  EXPECT_EQ(offered(folder, {"arkit", "quantize", "m", "--score_nsam"}), std::vector<std::string>{"--score_nsamples"});
  EXPECT_EQ(offered(folder, {"arkit", "quantize", "m", "--nsam"}), std::vector<std::string>{"--nsamples"});
  EXPECT_EQ(offered(folder, {"arkit", "--json", "list", "sch"}), std::vector<std::string>{"schemes"});
  EXPECT_EQ(offered(folder, {"arkit", "eval", "ppl", "m", "--resident", "o"}), std::vector<std::string>{"one"});
  EXPECT_EQ(offered(folder, {"arkit", "completions", ""}), (std::vector<std::string>{"bash", "zsh", "fish"}));
  EXPECT_TRUE(has(offered(folder, {"arkit", "help", "quan"}), "quantize"));
  folder.write("model.gguf", "");
  const std::string prefix = (folder.path() / "mod").string();
  const std::vector<std::string> file{(folder.path() / "model.gguf").string()};
  EXPECT_EQ(offered(folder, {"arkit", "quantize", prefix}), file);
  EXPECT_EQ(offered(folder, {"arkit", "quantize", "m", "--recipe_file", prefix}), file);
  EXPECT_EQ(offered(folder, {"arkit", "quantize", "m", "--iters", ""}), std::vector<std::string>{});
}

// The scripts of the other shells hold every option; where the shell is here, it reads them.
TEST(Completions, OfZshAndFishHaveEveryOption) {
  const std::string zsh = run_arkit({"completions", "zsh"}).out, fish = run_arkit({"completions", "fish"}).out;
  EXPECT_TRUE(zsh.starts_with("#compdef arkit\n"));
  for (const Command& command : commands())
    for (const Option& option : all_options(command)) {
      const std::string name(option.name);
      EXPECT_TRUE(contains(zsh, "--" + name + (option.type == arkit::cli::Type::flag ? "[" : "=["))) << name;
      EXPECT_TRUE(contains(fish, "'__arkit_is " + std::string(command.name) + "' -l " + name + " ")) << name;
    }
}

TEST(Completions, AreReadByZsh) {
  if (!has_program("zsh")) GTEST_SKIP() << "zsh is not installed";
  const TemporaryFolder folder;
  const fs::path script = folder.write("_arkit", run_arkit({"completions", "zsh"}).out);
  const Outcome run = program({"zsh", "-n", script.string()});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.err, "");
}

TEST(Completions, AreReadByFish) {
  if (!has_program("fish")) GTEST_SKIP() << "fish is not installed";
  const TemporaryFolder folder;
  const fs::path script = folder.write("arkit.fish", run_arkit({"completions", "fish"}).out);
  const Outcome run =
      program({"fish", "-c", "source " + script.string() + "; complete -C 'arkit quantize m --amp_dtype '"});
  EXPECT_EQ(run.err, "");
  EXPECT_TRUE(contains(run.out, "bfloat16")) << run.out;
}

TEST(Completions, OfAnotherShellAreRefused) {
  const Outcome run = run_arkit({"completions", "fich"});
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_EQ(run.err,
            "arkit: unknown shell 'fich'; did you mean 'fish'? (completions are made for bash, zsh and fish)\n");
  EXPECT_EQ(run_arkit({"completions"}).exit_code, 2);
}

TEST(Manual, HasAPageForEveryCommandWithEveryOption) {
  for (const Command& command : commands()) {
    std::vector<std::string> words{"man"};
    for (const std::string& word : arkit::split(command.name, ' ')) words.push_back(word);
    const Outcome run = run_arkit(words);
    EXPECT_EQ(run.exit_code, 0) << command.name << run.err;
    const std::string page = replaced(run.out, "\\-", "-");
    EXPECT_TRUE(contains(page, "\n.SH NAME\narkit-")) << command.name;
    for (const Option& option : all_options(command)) {
      EXPECT_TRUE(contains(page, "\\fB--" + std::string(option.name) + "\\fR")) << command.name << option.name;
      if (option.row.range.allows != nullptr) {
        EXPECT_TRUE(contains(page, "Expected: " + std::string(option.row.range.expected) + ".")) << option.name;
      }
    }
  }
  const std::string quantize = replaced(run_arkit({"man", "quantize"}).out, "\\-", "-");
  EXPECT_TRUE(contains(quantize, "Default: 1 / iters."));
  EXPECT_TRUE(contains(quantize, "Default: 5GB."));
  EXPECT_TRUE(contains(quantize, "The opposite of --asym."));
  EXPECT_FALSE(contains(quantize, "Since arkit 0.1.0.")) << "what was always there";
}

TEST(Manual, IsValidRoff) {
  const TemporaryFolder folder;
  EXPECT_EQ(run_arkit({"man", "--output_dir", (folder.path() / "man1").string()}).exit_code, 0);
  size_t pages = 0;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder.path() / "man1")) {
    ++pages;
    std::ifstream in(entry.path());
    // A line that begins with a dot is a request, and these are all there are.
    for (std::string line; std::getline(in, line);) {
      EXPECT_FALSE(line.starts_with("'")) << line;
      if (!line.starts_with(".")) continue;
      const std::string request = line.substr(0, line.find(' '));
      EXPECT_TRUE(has({".\\\"", ".TH", ".SH", ".SS", ".TP", ".BR", ".nf", ".fi"}, request)) << line;
    }
  }
  EXPECT_EQ(pages, commands().size() + 1);
  EXPECT_TRUE(fs::exists(folder.path() / "man1/arkit-eval-ppl.1"));
  if (!has_program("groff")) GTEST_SKIP() << "groff is not installed: the pages are not formatted";
  for (const fs::directory_entry& entry : fs::directory_iterator(folder.path() / "man1")) {
    const Outcome run = program({"groff", "-man", "-ww", "-z", "-Tutf8", entry.path().string()});
    EXPECT_EQ(run.exit_code, 0) << entry.path();
    EXPECT_EQ(run.err, "") << entry.path();
  }
}

// All of this is answered by the front alone: beside it lies nothing.
TEST(About, NeedsNoLibraries) {
  const TemporaryFolder folder;
  const std::string alone = (folder.path() / "arkit").string();
  fs::copy_file(ARKIT_BINARY, alone);
  using Words = std::vector<std::string>;
  for (const Words& words : {Words{"--version"}, Words{"--help"}, Words{"quantize", "--help"}, Words{"man", "quantize"},
                             Words{"completions", "zsh"}}) {
    Words line{alone};
    line.insert(line.end(), words.begin(), words.end());
    const Outcome run = program(line);
    EXPECT_EQ(run.exit_code, 0) << words.front() << run.err;
    EXPECT_EQ(run.err, "") << words.front();
  }
  EXPECT_EQ(program({alone, "quantize", "m", "--itres", "3"}).exit_code, 2);
  EXPECT_EQ(program({alone, "quantize", "m", "--iters", "many"}).exit_code, 2);
  EXPECT_NE(program({alone, "list", "schemes"}).exit_code, 0);  // this one needs them
}
