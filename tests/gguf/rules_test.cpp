// Types by rule: all cases of the reference, and what rows get that hold no whole blocks.
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <arkit/json.h>
#include <arkit/sdk/gguf_blocks.h>
#include <arkit/str.h>

#include "gguf_rules.h"

namespace arkit::gguf {
namespace {

using sdk::BlockType;

Part part_named(std::string_view tensor) {
  if (tensor == "attn_k") return Part::key;
  if (tensor == "attn_v" || tensor == "attn_qkv") return Part::value;
  if (tensor == "attn_output") return Part::attention_output;
  return tensor.starts_with("ffn_down") ? Part::down : Part::other;
}

struct RuleCase {
  const FileKind* kind;
  RuleModel model;
  bool tied;

  RuleCase(const json::Value& one, RuleSet rules)
      : kind(find_kind(one.at("format").as_string())), tied(one.at("tied").as_bool()) {
    const std::string_view arch = one.at("arch").as_string();
    model = {.rules = rules,
             .is_llama = arch == "llama",
             .is_qwen2 = arch == "qwen2",
             .is_falcon = arch == "falcon",
             .blocks = one.at("n_layer").as_int64(),
             .heads = one.at("n_head").as_int64(),
             .kv_heads = one.at("n_head_kv").as_int64(),
             .experts = one.at("n_expert").as_int64()};
  }
  [[nodiscard]] std::string type(Part part, int64_t block) const {
    return upper(sdk::name_of(type_of_part(*kind, model, part, block)));
  }
  // "2*Q5_K 6*Q4_K"
  [[nodiscard]] std::string types(Part part) const {
    std::vector<std::pair<int64_t, std::string>> runs;
    for (int64_t block = 0; block < model.blocks; ++block) {
      const std::string own = type(part, block);
      if (runs.empty() || runs.back().second != own) runs.emplace_back(0, own);
      ++runs.back().first;
    }
    std::string text;
    for (const auto& [count, name] : runs) text += str(text.empty() ? "" : " ", count, "*", name);
    return text;
  }
};

// Fifteen kinds of eight models: dense and with experts, falcon, those of 80 blocks.
TEST(GgufRules, GiveTheTypesOfTheReference) {
  const json::Value cases = json::read_file(std::filesystem::path(ARKIT_TEST_DATA) / "gguf/type_rules.json");
  ASSERT_EQ(cases.as_array().size(), 120U);
  for (const RuleSet rules : {RuleSet::auto_round, RuleSet::llama_cpp})
    for (const json::Value& one : cases.as_array()) {
      SCOPED_TRACE(str(name_of(rules), " ", std::string_view(one.at("format").as_string()), " ",
                       std::string_view(one.at("arch").as_string()), " ", one.at("n_layer").as_int64()));
      const RuleCase own(one, rules);
      ASSERT_NE(own.kind, nullptr);
      EXPECT_EQ(own.type(own.tied ? Part::output : Part::embedding, -1), one.at("token_embd.weight").as_string());
      // The one thing the two say differently of a type that fits.
      const bool differs = own.model.is_falcon && rules == RuleSet::llama_cpp;
      EXPECT_EQ(own.type(Part::output, -1), differs ? "Q8_0" : std::string(one.at("output.weight").as_string()));
      for (const auto& [tensor, types] : one.at("blk").as_object())
        EXPECT_EQ(own.types(part_named(tensor)), types.as_string()) << tensor;
    }
}

TEST(GgufRules, GiveRowsThatHoldNoWholeBlocksAnotherType) {
  struct Row {
    BlockType wanted, llama, auto_round;
  };
  constexpr Row kRows[] = {
      {BlockType::q2_k, BlockType::q4_0, BlockType::q5_0}, {BlockType::q3_k, BlockType::q4_0, BlockType::q5_0},
      {BlockType::q4_k, BlockType::q5_0, BlockType::q5_0}, {BlockType::q5_k, BlockType::q5_1, BlockType::q5_0},
      {BlockType::q6_k, BlockType::q8_0, BlockType::q8_0}, {BlockType::iq4_xs, BlockType::iq4_nl, BlockType::iq4_nl},
      {BlockType::q4_1, BlockType::q4_1, BlockType::q4_1}};
  for (const Row& row : kRows) {
    SCOPED_TRACE(sdk::name_of(row.wanted));
    EXPECT_EQ(fitting_type(row.wanted, 512, RuleSet::llama_cpp), row.wanted);
    EXPECT_EQ(fitting_type(row.wanted, 576, RuleSet::llama_cpp), row.llama);
    EXPECT_EQ(fitting_type(row.wanted, 576, RuleSet::auto_round), row.auto_round);
    EXPECT_FALSE(fitting_type(row.wanted, 80, RuleSet::llama_cpp)) << "no multiple of 32: 16 bits";
  }
}

TEST(GgufRules, HaveNames) {
  EXPECT_EQ(find_rules("Llama.cpp"), RuleSet::llama_cpp);
  EXPECT_EQ(find_rules("auto_round"), RuleSet::auto_round);
  EXPECT_FALSE(find_rules("llama"));
}

}  // namespace
}  // namespace arkit::gguf
