// The model plugins against tests/data/models (README there), through the conformance suite.
#include "conformance/model_suite.h"

#include <arkit/json.h>

#include "models/plugins.h"

namespace arkit::conformance {
namespace {

const std::filesystem::path kData = ARKIT_TEST_DATA "/models";

std::vector<ModelCase> cases(ModelAdapter& (*adapter)(), const std::vector<std::string>& names,
                             const std::filesystem::path& folder = kData) {
  std::vector<ModelCase> out;
  for (const std::string& name : names) out.push_back({name, folder / name, adapter});
  return out;
}

ModelCase bf16_case() {
  // Block outputs within two bf16 ulps of the reference; its matrix products accumulate in another order.
  return {"llama_bf16_sharded", kData / "llama_bf16_sharded", tests::llama, at::kBFloat16, 6e-2, 2e-2};
}

INSTANTIATE_TEST_SUITE_P(Llama, ModelSuite, testing::ValuesIn(cases(tests::llama, {"llama", "llama31"})),
                         model_case_name);
INSTANTIATE_TEST_SUITE_P(Mistral, ModelSuite, testing::ValuesIn(cases(tests::mistral, {"mistral"})), model_case_name);
INSTANTIATE_TEST_SUITE_P(LlamaBf16, ModelSuite, testing::Values(bf16_case()), model_case_name);
INSTANTIATE_TEST_SUITE_P(Qwen2, ModelSuite, testing::ValuesIn(cases(tests::qwen2, {"qwen2", "qwen2_sw"})),
                         model_case_name);
INSTANTIATE_TEST_SUITE_P(Qwen3, ModelSuite, testing::ValuesIn(cases(tests::qwen3, {"qwen3"})), model_case_name);
// Families that no plugin knows but by a file.
INSTANTIATE_TEST_SUITE_P(Declared, ModelSuite,
                         testing::ValuesIn(cases(tests::declared, {"olmo2",      "granite",  "phi3",
                                                                   "gemma",      "gemma2",   "gemma3_text",
                                                                   "starcoder2", "stablelm", "stablelm_parallel",
                                                                   "phi",        "gpt_neox", "gpt_neox_sequential",
                                                                   "cohere",     "cohere2",  "glm",
                                                                   "glm4",       "smollm3",  "seed_oss",
                                                                   "olmo3",      "helium",   "ernie4_5",
                                                                   "falcon",     "falcon_7b"},
                                                 ARKIT_TEST_DATA "/families")),
                         model_case_name);

// Names and order as AutoRound sees them, lm_head included.
TEST(LayerNames, EqualAutoRounds) {
  const json::Value vectors = json::read_file(kData / "autoround_layer_names.json");
  for (const std::string name : {"llama", "llama31", "llama_bf16_sharded", "mistral", "qwen2", "qwen2_sw", "qwen3"}) {
    const auto source = open_hf_folder(kData / name);
    const auto model = tests::adapter_of(*source).open(*source, at::kFloat);
    std::vector<std::string> wanted, planned, blocks, wanted_blocks;
    for (const json::Value& layer : vectors.at(name).at("all_linear_like").as_array())
      wanted.emplace_back(layer.as_string());
    for (const LayerPlan& plan : model->linears()) planned.push_back(plan.name);
    EXPECT_EQ(planned, wanted) << name;
    for (const json::Value& block : vectors.at(name).at("block_names").at(0).as_array())
      wanted_blocks.emplace_back(block.as_string());
    for (int64_t i = 0; i < model->num_blocks(); ++i) blocks.push_back(model->block_name(i));
    EXPECT_EQ(blocks, wanted_blocks) << name;
  }
}

TEST(TiedEmbeddings, FollowConfigurationAndCheckpoint) {
  for (const auto& [name, tied] : {std::pair{"llama", false}, std::pair{"llama31", true}}) {
    const auto source = open_hf_folder(kData / name);
    EXPECT_EQ(tests::llama().open(*source, at::kFloat)->tied_embeddings(), tied) << name;
  }
}

}  // namespace
}  // namespace arkit::conformance
