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

namespace {

// `input_ids` [1, 4] as a safetensors file.
fs::path write_ids(const TemporaryFolder& folder) {
  const std::string header = R"({"input_ids":{"dtype":"I64","shape":[1,4],"data_offsets":[0,32]}} )";
  const uint64_t length = header.size();
  const int64_t ids[] = {5, 6, 7, 8};
  std::string bytes(reinterpret_cast<const char*>(&length), sizeof(length));
  bytes += header;
  bytes.append(reinterpret_cast<const char*>(ids), sizeof(ids));
  return folder.write("ids.safetensors", bytes);
}

}  // namespace

TEST(CliBackends, NamesOfOtherProgramsAndDevicesAreUnderstoodOrExplained) {
  const TemporaryFolder folder;
  const std::string ids = write_ids(folder).string(), out = (folder.path() / "logits.safetensors").string();
  const auto forward = [&](std::vector<std::string> more) {
    std::vector<std::string> words{
        "forward", ARKIT_TEST_DATA "/golden/auto_round-W4A16", "--input_ids", ids, "--output", out, "--json"};
    words.insert(words.end(), more.begin(), more.end());
    return run_arkit(words);
  };
  const Outcome stands_in = forward({"--backend", "auto_round:torch", "--device", "cpu"});
  EXPECT_EQ(stands_in.exit_code, 0) << stands_in.err;
  EXPECT_TRUE(contains(stands_in.err, "backend 'auto_round:torch': 'torch' stands in for it")) << stands_in.err;
  EXPECT_EQ(arkit::json::parse(stands_in.out, "stdout").at("backends").at("torch").as_int64(), 14);

  const Outcome absent = forward({"--backend", "mlx"});
  EXPECT_EQ(absent.exit_code, 4);
  EXPECT_TRUE(contains(absent.err + absent.out, "mlx-lm")) << absent.err;
  const Outcome unknown = forward({"--backend", "exlamav2"});
  EXPECT_EQ(unknown.exit_code, 4);
  EXPECT_TRUE(contains(unknown.err + unknown.out, "did you mean 'exllamav2'")) << unknown.err;
  const Outcome device = forward({"--device", "abacus"});
  EXPECT_EQ(device.exit_code, 4);
  EXPECT_TRUE(contains(device.err + device.out, "no backend has a device 'abacus' here")) << device.err;

  // torch makes nothing ready that is worth keeping; the folder is there, and the result says what came out of it.
  const Outcome kept = forward({"--backend", "torch", "--ark-cache", (folder.path() / "kept").string()});
  EXPECT_EQ(kept.exit_code, 0) << kept.err;
  EXPECT_EQ(arkit::json::parse(kept.out, "stdout").at("prepared_cache").at("written").as_int64(), 0);
  EXPECT_TRUE(fs::is_directory(folder.path() / "kept"));
}

TEST(CliBackends, AreListedWithWhatTheyRun) {
  const Outcome list = run_arkit({"list", "backends"});
  ASSERT_EQ(list.exit_code, 0) << list.err;
  for (const char* text : {"torch on cpu:0 runs", "sym, asym", "stands in for auto_round, auto_round:torch"})
    EXPECT_TRUE(contains(list.out, text)) << text << "\n" << list.out;
  const Outcome inspect = run_arkit({"inspect", ARKIT_TEST_DATA "/golden/auto_round-W4A16"});
  ASSERT_EQ(inspect.exit_code, 0) << inspect.err;
  EXPECT_TRUE(contains(inspect.out, "\nbackends\n")) << inspect.out;
}
