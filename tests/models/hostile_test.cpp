// Configurations and checkpoints that must be refused before any work, with a message that says what is wrong.
#include <gtest/gtest.h>

#include <arkit/error.h>
#include <arkit/model_adapter.h>
#include <arkit/model_source.h>

#include "models/patched_source.h"
#include "models/plugins.h"

namespace arkit {
namespace {

const std::filesystem::path kData = ARKIT_TEST_DATA "/models";

using tests::PatchedSource;

struct BadConfig {
  const char* model;
  const char* patch;
  const char* message;  // part of it
};

TEST(ModelConfig, RefusesAbsurdValuesBeforeAnyWork) {
  const BadConfig bad[] = {
      {"llama", R"({"hidden_size": 0})", "'hidden_size' is 0"},
      {"llama", R"({"hidden_size": -64})", "'hidden_size' is -64"},
      {"llama", R"({"hidden_size": 9223372036854775807})", "'hidden_size' is 9223372036854775807"},
      {"llama", R"({"hidden_size": "64"})", "hidden_size"},
      {"llama", R"({"num_hidden_layers": 1000000000})", "'num_hidden_layers' is 1000000000"},
      {"llama", R"({"num_hidden_layers": 3})", "tensor 'model.layers.2.self_attn.q_proj.weight' is missing"},
      {"llama", R"({"num_key_value_heads": 3})", "not a multiple"},
      {"llama", R"({"head_dim": 15})", "even number"},
      {"llama", R"({"head_dim": 18})", "has shape [64, 64]; config.json asks for [72, 64]"},
      {"llama", R"({"vocab_size": 512})", "tensor 'model.embed_tokens.weight' has shape [256, 64]"},
      {"llama", R"({"attention_bias": true})", "tensor 'model.layers.0.self_attn.q_proj.bias' is missing"},
      {"llama", R"({"rms_norm_eps": -1e-5})", "rms_norm_eps"},
      {"llama", R"({"hidden_act": "geglu"})", "unknown 'hidden_act' 'geglu'"},
      {"llama", R"({"rope_parameters": {"rope_type": "lama3"}})", "did you mean 'llama3'"},
      {"llama", R"({"rope_parameters": 7})", "rope parameters"},
      {"llama31", R"({"tie_word_embeddings": false})", "tensor 'lm_head.weight' is missing"},
      {"mistral", R"({"sliding_window": 0})", "'sliding_window' is 0"},
      {"qwen2_sw", R"({"layer_types": ["full_attention"]})", "'layer_types' has 1 entries for 2 blocks"},
      {"qwen2_sw", R"({"layer_types": ["full_attention", "linear"]})", "unknown entry 'linear'"},
      {"qwen3", R"({"head_dim": null})", "has shape [128, 64]; config.json asks for [512, 64]"},
  };
  for (const BadConfig& b : bad) {
    const PatchedSource source(kData / b.model, b.patch);
    try {
      (void)tests::adapter_of(source).open(source, at::kFloat);
      ADD_FAILURE() << b.patch << " was accepted";
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(b.message), std::string::npos) << b.patch << " gave: " << e.what();
      EXPECT_TRUE(e.code() == ErrorCode::input || e.code() == ErrorCode::unsupported) << e.what();
    }
  }
}

TEST(ModelConfig, ForeignModelTypesAreNotMatched) {
  const json::Value config = json::parse(R"({"model_type": "mamba"})", "test");
  EXPECT_FALSE(tests::llama().matches(config.as_object()));
  EXPECT_FALSE(tests::qwen2().matches(config.as_object()));
  EXPECT_FALSE(tests::declared().matches(config.as_object()));
  EXPECT_FALSE(tests::llama().matches(json::Object{}));
  const json::Value number = json::parse(R"({"model_type": 3})", "test");
  EXPECT_FALSE(tests::llama().matches(number.as_object()));
}

}  // namespace
}  // namespace arkit
