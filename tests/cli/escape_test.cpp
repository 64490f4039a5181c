// Nothing that comes from outside drives the terminal or breaks the JSON of the real program.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

#include <unistd.h>

#include <gtest/gtest.h>

#include <arkit/json.h>

#include "error_report.h"
#include "run_program.h"

using cli_test::contains;
using cli_test::Outcome;
using cli_test::run_arkit;

namespace {

// ESC, a C1 control, a bidirectional override, a tag and a byte that is no UTF-8.
const std::string kHostile = "\x1b[31m\xc2\x9b\xe2\x80\xae\xf3\xa0\x81\x81\xff";

bool is_harmless(const std::string& text) {
  if (std::any_of(text.begin(), text.end(), [](char c) { return (c >= 0 && c < 0x20 && c != '\n') || c == 0x7F; }))
    return false;
  for (const char* control : {"\xc2\x9b", "\xe2\x80\xae", "\xf3\xa0\x81\x81", "\xff"})
    if (contains(text, control)) return false;
  return true;
}

}  // namespace

TEST(CliEscape, ErrorsOfTheFrontAndOfCommandsAreHarmless) {
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{kHostile},
                                                    {"quantize", "model", "--bits", kHostile},
                                                    {"inspect", "/nowhere/" + kHostile},
                                                    {"tokenize", kHostile, "--text", "a"},
                                                    {"plugin", "inspect", kHostile},
                                                    {"quantize", "--" + kHostile}}) {
    const Outcome run = run_arkit(arguments);
    EXPECT_NE(run.exit_code, 0);
    EXPECT_TRUE(is_harmless(run.out)) << run.out;
    EXPECT_TRUE(is_harmless(run.err)) << run.err;
    EXPECT_TRUE(run.err.starts_with("arkit: ")) << run.err;
  }
}

TEST(CliEscape, JsonErrorsAreJsonWhereverAMessageIsCut) {
  std::string name = "/nowhere/";
  for (int i = 0; i < 300; ++i) name += "\u4f60";
  for (const char* tail : {"", "a", "ab", "\xe4", "\xe4\xbd"}) {
    const Outcome run = run_arkit({"inspect", name + kHostile + tail, "--json"});
    EXPECT_EQ(run.exit_code, 3) << run.err;
    EXPECT_TRUE(is_harmless(run.out)) << run.out;
    EXPECT_NO_THROW((void)arkit::json::parse(run.out, "stdout")) << run.out;
  }
}

TEST(CliEscape, AnOptionFileCannotWriteToTheTerminal) {
  char folder[] = "/tmp/arkit_escape_XXXXXX";
  ASSERT_NE(::mkdtemp(folder), nullptr);
  const std::string file = std::string(folder) + "/options.toml";
  std::ofstream(file) << "\"\\u001b[31m\\u202e\" = 1\n";
  const Outcome run = run_arkit({"quantize", "model", "--config", file});
  EXPECT_EQ(run.exit_code, 2) << run.err;
  EXPECT_TRUE(is_harmless(run.err)) << run.err;
  std::filesystem::remove_all(folder);
}

TEST(CliEscape, MessagesAreOfOneKindAndBounded) {
  using namespace arkit::cli;
  // A second line cannot pass for a message of its own.
  EXPECT_EQ(error_text("a\narkit: all is well\x1b"), "arkit: a\n  arkit: all is well\\x1b\n");
  EXPECT_LT(error_text(std::string(10'000'000, 'x')).size(), 20'000U);
  const std::string text = error_json(3, "a\"\\\n\t" + kHostile);
  const arkit::json::Value parsed = arkit::json::parse(text, "error");
  EXPECT_EQ(parsed.at("error").at("message").as_string(), "a\"\\\n\t\x1b[31m\u009b\u202e\U000E0041\ufffd");
  EXPECT_TRUE(is_harmless(text));
}
