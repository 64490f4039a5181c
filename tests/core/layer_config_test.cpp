#include "quant/layer_config.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include <arkit/error.h>

namespace arkit {
namespace {

// Left: what a user types; right: what AutoRound 0.16.1 matches with.
TEST(LayerConfig, StandardRegexEqualsTheReference) {
  const std::vector<std::pair<std::string, std::string>> cases{{"k_proj", ".*k_proj.*"},
                                                               {"layers.1", ".*layers\\.1.*"},
                                                               {"layers.[0-3].mlp", ".*layers\\.[0-3]\\.mlp.*"},
                                                               {".*q_proj", ".*q_proj.*"},
                                                               {"^model.layers.1$", "^model\\.layers\\.1$"},
                                                               {"down_proj|up_proj", ".*down_proj|up_proj.*"},
                                                               {"a-b", ".*a\\-b.*"},
                                                               {"mlp.*", ".*mlp.*"},
                                                               {"lm_head$", ".*lm_head$"}};
  for (const auto& [typed, expected] : cases) EXPECT_EQ(to_standard_regex(typed), expected) << typed;
}

// The reference doubles the backslash of an escaped dot, after which the pattern matches nothing; arkit leaves it
// alone.
TEST(LayerConfig, AlreadyEscapedDotsStay) {
  EXPECT_EQ(to_standard_regex("layers\\.(1|2)\\."), ".*layers\\.(1|2)\\..*");
}

TEST(LayerConfig, ReadsJsonAndTheRelaxedForm) {
  for (const std::string text :
       {R"({"k_proj": {"bits": 8, "sym": false}, "lm_head": "W8A16"})", "{k_proj:{bits:8,sym:false},lm_head:W8A16}"}) {
    const std::vector<LayerRule> rules = parse_layer_config(text);
    ASSERT_EQ(rules.size(), 2U) << text;
    EXPECT_EQ(rules[0].key, "k_proj");
    EXPECT_EQ(rules[0].overrides.bits, 8);
    EXPECT_EQ(rules[0].overrides.sym, false);
    EXPECT_EQ(rules[1].key, "lm_head");
    EXPECT_EQ(rules[1].scheme, "W8A16");
  }
}

TEST(LayerConfig, RelaxedKeysMayBePatterns) {
  const std::vector<LayerRule> rules = parse_layer_config("{model.layers.[0-3].*: {bits: 8, group_size: -1}}");
  ASSERT_EQ(rules.size(), 1U);
  EXPECT_EQ(rules[0].key, "model.layers.[0-3].*");
  EXPECT_EQ(rules[0].overrides.group_size, -1);
}

TEST(LayerConfig, TomlKeepsTheOrderOfTheFile) {
  const auto path = std::filesystem::temp_directory_path() / "arkit_layer_config_test.toml";
  std::ofstream(path) << "[z_proj]\nbits = 8\n[a_proj]\nbits = 4\n";
  const std::vector<LayerRule> rules = parse_layer_config(path.string());
  std::filesystem::remove(path);
  ASSERT_EQ(rules.size(), 2U);
  EXPECT_EQ(rules[0].key, "z_proj");
  EXPECT_EQ(rules[1].overrides.bits, 4);
}

TEST(LayerConfig, TomlTablesMayNest) {
  const auto path = std::filesystem::temp_directory_path() / "arkit_layer_config_nested.toml";
  std::ofstream(path) << "[model.layers.0.self_attn]\nk_proj = \"W8A16\"\n[model.layers.0.self_attn.v_proj]\nbits = 3\n"
                         "[\"model.layers.1\"]\nbits = 8\ndown_proj = \"W2A16\"\n";
  const std::vector<LayerRule> rules = parse_layer_config(path.string());
  std::filesystem::remove(path);
  ASSERT_EQ(rules.size(), 4U);
  EXPECT_EQ(rules[0].key, "model.layers.0.self_attn.k_proj");
  EXPECT_EQ(rules[0].scheme, "W8A16");
  EXPECT_EQ(rules[0].origin, "arkit_layer_config_nested.toml line 2");
  EXPECT_EQ(rules[1].key, "model.layers.0.self_attn.v_proj");
  EXPECT_EQ(rules[1].overrides.bits, 3);
  EXPECT_EQ(rules[2].key, "model.layers.1");
  EXPECT_EQ(rules[2].overrides.bits, 8);
  EXPECT_EQ(rules[3].key, "model.layers.1.down_proj");
}

TEST(LayerConfig, TomlSlipsOfFieldsAreNotTakenForLongerKeys) {
  const auto path = std::filesystem::temp_directory_path() / "arkit_layer_config_slip.toml";
  std::ofstream(path) << "[k_proj]\ndata_typ = \"int\"\n";
  EXPECT_THROW((void)parse_layer_config(path.string()), Error);
  std::filesystem::remove(path);
}

TEST(LayerConfig, FaultsNameTheField) {
  try {
    (void)parse_layer_config(R"({"k_proj": {"bit": 8}})");
    FAIL() << "an unknown field was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    EXPECT_NE(std::string(error.what()).find("did you mean 'bits'"), std::string::npos) << error.what();
  }
  EXPECT_THROW((void)parse_layer_config("no_such_file.json"), Error);
  EXPECT_THROW((void)parse_layer_config("{k_proj:{bits:8}"), Error);
}

}  // namespace
}  // namespace arkit
