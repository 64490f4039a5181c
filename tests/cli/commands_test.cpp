// Commands that need no model, run through the real program and its libarkit_cli.
#include <filesystem>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

#include <arkit/json.h>

#include "run_program.h"
#include "temporary_folder.h"

namespace fs = std::filesystem;

using arkit::testing::TemporaryFolder;
using cli_test::contains;
using cli_test::Outcome;
using cli_test::run_arkit;

namespace {

const std::string kGood = ARKIT_FIXTURES "/good/libarkit_reader_good.so";
const std::string kWrongAbi = ARKIT_FIXTURES "/wrong_abi/libarkit_reader_wrong_abi.so";

std::string text_of(const fs::path& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

}  // namespace

TEST(CliPlugin, InspectDescribesAGoodAndARefusedFile) {
  const Outcome good = run_arkit({"plugin", "inspect", kGood, "--json"});
  ASSERT_EQ(good.exit_code, 0) << good.err;
  const auto result = arkit::json::parse(good.out, "stdout");
  EXPECT_EQ(result.at("schema_version").as_int64(), 1);
  EXPECT_TRUE(result.at("usable").as_bool());
  EXPECT_EQ(result.at("components").at(0).at("name").as_string(), "sample");

  const Outcome refused = run_arkit({"plugin", "inspect", kWrongAbi});
  EXPECT_EQ(refused.exit_code, 0) << refused.err;
  EXPECT_TRUE(contains(refused.out, "built for  arkit1-torch2.12"));
  EXPECT_TRUE(contains(refused.out, "org.example.wrong_abi"));

  const Outcome missing = run_arkit({"plugin", "inspect", "/no/such.so", "--json"});
  EXPECT_EQ(missing.exit_code, 3);
  EXPECT_EQ(arkit::json::parse(missing.out, "stdout").at("error").at("kind").as_string(), "input");
}

TEST(CliPlugin, NewWritesAProjectWithItsName) {
  const TemporaryFolder folder;
  for (const std::string kind : {"scheme", "exporter", "backend", "model"}) {
    const fs::path project = folder.path() / kind;
    const Outcome run = run_arkit({"plugin", "new", kind, "my_nf4", project.string()});
    ASSERT_EQ(run.exit_code, 0) << run.err;
    EXPECT_TRUE(contains(text_of(project / "CMakeLists.txt"), "arkit_add_plugin(NAME my_nf4 KIND " + kind));
    EXPECT_TRUE(contains(text_of(project / ("my_nf4_" + kind + ".cpp")), "class MyNf4"));
    EXPECT_TRUE(fs::exists(project / "test_my_nf4.cpp"));
    for (const fs::directory_entry& file : fs::recursive_directory_iterator(project)) {
      EXPECT_FALSE(contains(text_of(file.path()), "sample_plugin")) << file.path();
      EXPECT_FALSE(contains(text_of(file.path()), "SamplePlugin")) << file.path();
    }
  }
  const fs::path used = folder.path() / "scheme";
  EXPECT_EQ(run_arkit({"plugin", "new", "scheme", "my_nf4", used.string()}).exit_code, 2);  // never overwrites
}

TEST(CliPlugin, NewRefusesNamesAndKindsThatCannotWork) {
  for (const std::string name : {"Nf4", "../x", "4bit"}) {
    const Outcome run = run_arkit({"plugin", "new", "scheme", name, "/tmp/arkit_never_written"});
    EXPECT_EQ(run.exit_code, 2) << name;
    EXPECT_FALSE(fs::exists("/tmp/arkit_never_written"));
  }
  for (const char* folder : {"/tmp/arkit_never\x1b[2J", "/tmp/arkit_never\xe2\x80\xae", "/tmp/arkit_never\xc2\x85",
                             "/tmp/arkit_never\n", "/tmp/arkit_never\xff"}) {
    const Outcome run = run_arkit({"plugin", "new", "scheme", "nf4", folder});
    EXPECT_EQ(run.exit_code, 2) << run.err;
    EXPECT_TRUE(contains(run.err, "control characters")) << run.err;
    EXPECT_FALSE(fs::exists(folder));
  }
  const Outcome kind = run_arkit({"plugin", "new", "schema", "nf4"});
  EXPECT_EQ(kind.exit_code, 2);
  EXPECT_TRUE(contains(kind.err, "did you mean 'scheme'?"));
}

TEST(CliQuantize, AFileForRecipeNamesTheOptionsThatTakeOne) {
  const Outcome outcome = run_arkit({"quantize", "/no/model", "--recipe", "recipe.yaml"});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_TRUE(contains(outcome.err, "--recipe_file")) << outcome.err;
  EXPECT_TRUE(contains(outcome.err, "--config")) << outcome.err;
}

TEST(CliQuantize, NeuqiContradictsRoundingWithoutASearch) {
  const Outcome outcome = run_arkit({"quantize", "/no/model", "--iters", "0", "--enable-neuqi", "--disable_opt_rtn"});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_TRUE(contains(outcome.err, "--enable_neuqi is a search")) << outcome.err;
  EXPECT_EQ(run_arkit({"quantize", "/no/model", "--iters", "0", "--enable_neuqi"}).exit_code, 3);
}

TEST(CliQuantize, ADeepKeyInAnOptionFileIsRefused) {
  const TemporaryFolder folder;
  std::string key = "a";
  for (int i = 0; i < 120000; ++i) key += ".a";
  std::ofstream(folder.path() / "key.toml") << key << " = 1\n";
  std::ofstream(folder.path() / "table.toml") << "[" << key << "]\nb = 1\n";
  for (const char* file : {"key.toml", "table.toml"}) {
    const Outcome run = run_arkit({"quantize", "model", "--config", (folder.path() / file).string()});
    EXPECT_EQ(run.exit_code, 3) << run.err;
    EXPECT_TRUE(contains(run.err, "more than 64 parts")) << run.err;
  }
}

TEST(CliQuantize, ARecipeFileIsReadBeforeTheModel) {
  const TemporaryFolder folder;
  const std::string recipe = (folder.path() / "recipe.yaml").string();
  std::ofstream(recipe) << "default_stage:\n  default_modifiers:\n    GPTQModifier: {scheme: W4A16}\n";
  const Outcome refused = run_arkit({"quantize", "/no/model", "--recipe-file", recipe});
  EXPECT_EQ(refused.exit_code, 4);
  EXPECT_TRUE(contains(refused.err, "GPTQModifier")) << refused.err;
  EXPECT_EQ(run_arkit({"quantize", "/no/model", "--recipe-file", (folder.path() / "none.yaml").string()}).exit_code, 3);
  const Outcome both = run_arkit({"quantize", "/no/model", "--recipe-file", recipe, "--bits", "3"});
  EXPECT_EQ(both.exit_code, 4);  // what is wrong in the recipe comes first
}
