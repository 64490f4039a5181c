// Parsing of command lines and recipe files into options, as a library.
#include <filesystem>
#include <fstream>
#include <functional>

#include <unistd.h>

#include <gtest/gtest.h>

#include <arkit/error.h>

#include "command_line.h"
#include "recipe_file.h"
#include "run_program.h"

namespace fs = std::filesystem;

using arkit::cli::parse_command_line;
using arkit::cli::ParsedCommand;
using arkit::cli::Values;
using cli_test::contains;

namespace {

ParsedCommand parsed(const std::vector<std::string>& arguments) {
  return parse_command_line(arguments).parsed;
}

std::string message_of(const std::function<void()>& action, arkit::ErrorCode code) {
  try {
    action();
  } catch (const arkit::Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

Values recipe(const std::string& text) {
  return arkit::cli::read_recipe(text, "r.toml", *arkit::cli::find_command("quantize"));
}

// A recipe file with the given text, removed at the end.
class RecipeFile {
 public:
  explicit RecipeFile(const std::string& text) {
    char name[] = "/tmp/arkit_recipe_XXXXXX";
    const int fd = ::mkstemp(name);
    ::close(fd);
    path = name;
    std::ofstream(path) << text;
  }
  ~RecipeFile() { fs::remove(path); }
  std::string path;
};

}  // namespace

TEST(CommandLine, DashesAndUnderscoresAreTheSame) {
  const ParsedCommand dashes = parsed({"quantize", "m", "--group-size", "64", "--dry-run", "--output-dir=a_b-c"});
  const ParsedCommand underscores = parsed({"quantize", "m", "--group_size", "64", "--dry_run", "--output_dir=a_b-c"});
  EXPECT_EQ(dashes.values, underscores.values);
  EXPECT_EQ(dashes.values.at("output_dir").front(), "a_b-c");
}

TEST(CommandLine, NegativeNumbersListsAndAliases) {
  const ParsedCommand command = parsed({"quantize", "m", "--group_size", "-1", "--format", "auto_round,auto_gptq", "-o",
                                        "out", "--bs", "4", "--ignore_layers", "a,b", "--ignore_layers", "c"});
  EXPECT_EQ(command.values.at("group_size").front(), "-1");
  EXPECT_EQ(command.values.at("format"), (std::vector<std::string>{"auto_round", "auto_gptq"}));
  EXPECT_EQ(command.values.at("output_dir").front(), "out");
  EXPECT_EQ(command.values.at("batch_size").front(), "4");
  EXPECT_EQ(command.values.at("ignore_layers"), (std::vector<std::string>{"a", "b", "c"}));
}

TEST(CommandLine, SeveralWordsAfterOneOptionAsInAutoRound) {
  const ParsedCommand command =
      parsed({"quantize", "--schemes", "W4A16", "W8A16", "/tmp", "--bits", "4.5", "--shared_layers", "q_proj", "k_proj",
              "--shared-layers", "up_proj,gate_proj", "v_proj,o_proj"});
  EXPECT_EQ(command.positionals, std::vector<std::string>{"/tmp"});
  EXPECT_EQ(command.values.at("options").front(), "W4A16,W8A16");
  EXPECT_EQ(command.values.at("shared_layers"),
            (std::vector<std::string>{"q_proj,k_proj", "up_proj,gate_proj", "v_proj,o_proj"}));
  EXPECT_EQ(command.values.at("bits").front(), "4.5");
  const ParsedCommand mix = parsed({"autoscheme", "m", "--option", "MXFP4,MXFP8", "--target_bits", "4.5,6"});
  EXPECT_EQ(mix.command, "autoscheme");
  EXPECT_EQ(mix.values.at("avg_bits"), (std::vector<std::string>{"4.5", "6"}));
  EXPECT_EQ(parsed({"autoscheme", "m", "--score", "tuned"}).values.at("score").front(), "tuned");
  EXPECT_TRUE(contains(message_of(
                           [] {
                             (void)parsed({"autoscheme", "m", "--score", "tune"});
                           },
                           arkit::ErrorCode::usage),
                       "tuned"));
}

TEST(CommandLine, SizesKnowBothKindsOfUnits) {
  for (const char* size : {"3GiB", "1.5GB", "900MB", "64KiB", "123456"})
    EXPECT_EQ(parsed({"quantize", "m", "--target-size", size}).values.at("target_size").front(), size);
  for (const char* size : {"1.5", "3TiB", "GiB", "0", "1.5.2GB", "-3GB"})
    EXPECT_TRUE(contains(message_of(
                             [&] {
                               (void)parsed({"quantize", "m", std::string("--target-size=") + size});
                             },
                             arkit::ErrorCode::usage),
                         "is not a size such as"))
        << size;
}

TEST(CommandLine, QuantizeIsImpliedByAPathOrAnOption) {
  EXPECT_EQ(parsed({"/tmp", "--bits", "4"}).command, "quantize");
  EXPECT_EQ(parsed({"/tmp", "--bits", "4"}).positionals, std::vector<std::string>{"/tmp"});
  const ParsedCommand by_option = parsed({"--model", "org/name", "--bits", "4"});
  EXPECT_EQ(by_option.command, "quantize");
  EXPECT_EQ(by_option.positionals, std::vector<std::string>{"org/name"});
}

TEST(CommandLine, CommonOptionsMayStandBeforeTheCommand) {
  const ParsedCommand command = parsed({"--plugin", "./a", "--plugin=./b", "list", "formats", "--json"});
  EXPECT_EQ(command.command, "list");
  EXPECT_EQ(command.positionals, std::vector<std::string>{"formats"});
  EXPECT_EQ(command.values.at("plugin"), (std::vector<std::string>{"./a", "./b"}));
}

TEST(CommandLine, AnOptionsFileSaysMoreThanTheNameOfTheProgram) {
  const RecipeFile file("output_dir = 'there'\n");
  const auto folder = [](const std::vector<std::string>& words) {
    return parse_command_line(words, arkit::cli::called_as("auto-round")).parsed.values.at("output_dir");
  };
  EXPECT_EQ(folder({"m", "--config", file.path}), std::vector<std::string>{"there"});
  EXPECT_EQ(folder({"m"}), std::vector<std::string>{"tmp_autoround"});
}

TEST(CommandLine, RecordsTheCommandAsAShellReadsIt) {
  EXPECT_EQ(parsed({"generate", "m", "--prompt", "it's here"}).command_line,
            R"(arkit generate m --prompt 'it'\''s here')");
}

TEST(Recipe, EveryKindOfValue) {
  const Values values = recipe(
      "iters = 50\nlr = 5e-3\nasym = true\nquant_lm_head = false\nscheme = 'W4A16'\nformat = ['auto_round', 'fake']\n"
      "ignore-layers = 'a,b'\nmax_shard_size = '200MB'\n[layer_config.'lm_head']\nbits = 8\n");
  EXPECT_EQ(values.at("iters").front(), "50");
  EXPECT_DOUBLE_EQ(std::stod(values.at("lr").front()), 5e-3);
  EXPECT_EQ(values.at("asym").front(), "true");
  EXPECT_EQ(values.at("quant_lm_head").front(), "false");
  EXPECT_EQ(values.at("format"), (std::vector<std::string>{"auto_round", "fake"}));
  EXPECT_EQ(values.at("ignore_layers"), (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(contains(values.at("layer_config").front(), "\"lm_head\""));
}

TEST(Recipe, NamesUnknownKeysWrongTypesAndBadToml) {
  EXPECT_EQ(message_of([] { (void)recipe("itres = 5"); }, arkit::ErrorCode::usage),
            "'r.toml': unknown key 'itres'; did you mean 'iters'? ('arkit quantize --help' shows all)");
  EXPECT_TRUE(contains(message_of([] { (void)recipe("itrs = 5"); }, arkit::ErrorCode::usage), "did you mean 'iters'?"));
  EXPECT_EQ(message_of([] { (void)recipe("iters = 'many'"); }, arkit::ErrorCode::usage),
            "'r.toml': iters: 'many' is not a whole number");
  EXPECT_TRUE(contains(message_of([] { (void)recipe("a = \nb = 2"); }, arkit::ErrorCode::input), "line 1: not TOML"));
  EXPECT_TRUE(contains(message_of([] { (void)recipe("iters = [1, 2]"); }, arkit::ErrorCode::usage), "one value"));
  EXPECT_TRUE(contains(message_of([] { (void)recipe("seed = 1979-05-27"); }, arkit::ErrorCode::usage), "date"));
  EXPECT_TRUE(
      contains(message_of([] { (void)recipe("sym = true\nasym = true"); }, arkit::ErrorCode::usage), "contradict"));
  EXPECT_TRUE(contains(message_of([] { (void)recipe("bits = 4\nbit = 3"); }, arkit::ErrorCode::usage), "set twice"));
}

TEST(Recipe, CannotNamePlugins) {
  EXPECT_TRUE(contains(message_of([] { (void)recipe("plugin = '/tmp/x.so'"); }, arkit::ErrorCode::usage),
                       "a recipe must not choose code to run"));
}

TEST(Recipe, FlagsOverrideItAndWhatTheyContradict) {
  const RecipeFile file("model = 'from-recipe'\niters = 50\nasym = true\nseed = 7\n");
  const ParsedCommand command = parsed({"quantize", "--config", file.path, "--iters", "10", "--sym"});
  EXPECT_EQ(command.values.at("iters").front(), "10");
  EXPECT_EQ(command.values.at("seed").front(), "7");
  EXPECT_TRUE(command.values.contains("sym"));
  EXPECT_FALSE(command.values.contains("asym"));
  EXPECT_EQ(command.positionals, std::vector<std::string>{"from-recipe"});
  EXPECT_EQ(parsed({"quantize", "other", "--config", file.path}).positionals, std::vector<std::string>{"other"});
}

TEST(Recipe, GroupsOfSharedLayersAreAList) {
  const Values values = recipe("shared_layers = ['q_proj,o_proj', 'up_proj,down_proj']\nbits = 4");
  EXPECT_EQ(values.at("shared_layers"), (std::vector<std::string>{"q_proj,o_proj", "up_proj,down_proj"}));
  EXPECT_EQ(values.at("bits").front(), "4");
}

TEST(Recipe, UnreadableFilesAreInputErrors) {
  message_of([] { (void)parsed({"quantize", "m", "--config", "/no/such.toml"}); }, arkit::ErrorCode::input);
}
