// What mlx-lm's classes read of an export, which is not what transformers reads: names, defaults, layouts.
#include <gtest/gtest.h>

#include <cmath>

#include <ATen/ATen.h>

#include <arkit/scheme.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/str.h>

#include "jobs/job_testing.h"
#include "jobs/tiny_checkpoint.h"

namespace arkit {
namespace {

namespace fs = std::filesystem;
using testing::Checkpoint;
using testing::config_of;
using testing::contains;
using testing::registry;
using testing::TemporaryFolder;

QuantizeOptions to_mlx(const std::string& model, const fs::path& out) {
  QuantizeOptions options;
  options.model = model;
  options.output_dir = out;
  options.scheme = "W4A16";
  options.overrides.group_size = 32;
  options.formats = {"mlx"};
  options.recipe = "rtn";
  options.model_free = true;
  options.force = true;
  return options;
}

json::Object run(const QuantizeOptions& options) {
  Reporter silent;
  return quantize(options, registry(), silent);
}

void give_biases(Checkpoint& model) {
  TensorMap biases;
  for (const auto& [name, tensor] : model.tensors)
    for (const std::string layer : {"q_proj", "k_proj", "v_proj", "o_proj"})
      if (name.ends_with(layer + ".weight"))
        biases[name.substr(0, name.size() - 6) + "bias"] = at::zeros({tensor.size(0)}, tensor.scalar_type());
  model.tensors.merge(biases);
}

// config.json of the mlx export of a tiny llama with these settings; null = without the key.
json::Object mlx_config(const json::Object& settings, const std::string& source = "source-llama-bf16") {
  const TemporaryFolder folder;
  Checkpoint model = testing::tiny_checkpoint(source);
  const json::Value* type = settings.if_contains("model_type");
  if (settings.contains("attention_bias") || (type != nullptr && *type == "qwen2")) give_biases(model);
  for (const auto& setting : settings)
    if (setting.value().is_null())
      model.config.erase(setting.key());
    else
      model.config[setting.key()] = setting.value();
  (void)run(to_mlx(model.write(folder.path() / "model"), folder.path() / "out"));
  return config_of(folder.path() / "out");
}

std::string mlx_refusal(const json::Object& settings, const std::string& source = "source-llama-bf16") {
  return testing::refusal(ErrorCode::unsupported, [&] { (void)mlx_config(settings, source); });
}

json::Object parameters(std::string_view text) {
  return json::parse(text, "test").as_object();
}

TEST(MlxRope, ScalingOfTransformersFiveComesAsRopeScaling) {
  const json::Object config = mlx_config({{"rope_parameters", parameters(R"({"rope_type": "llama3", "rope_theta": 5e5,
      "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64})")}});
  EXPECT_EQ(config.at("rope_theta"), 5e5);
  const json::Object& scaling = config.at("rope_scaling").as_object();
  EXPECT_EQ(scaling.at("type"), "llama3") << "some classes look for this";
  EXPECT_EQ(scaling.at("rope_type"), "llama3") << "others for this";
  EXPECT_EQ(scaling.at("factor"), 8.0);
  EXPECT_FALSE(scaling.contains("rope_theta"));
  EXPECT_FALSE(config.contains("rope_parameters"));
}

// mlx-lm would take 4096 positions for yarn and 8192 for llama3.
TEST(MlxRope, LengthsAreSaidWhereTheClassWouldGuess) {
  for (const char* type : {"yarn", "llama3"}) {
    const json::Object rope{{"rope_type", type}, {"rope_theta", 1e4}, {"factor", 4.0}};
    const json::Object config = mlx_config({{"rope_parameters", rope}});
    EXPECT_EQ(config.at("rope_scaling").at("original_max_position_embeddings"), 512) << type;
    const json::Object old = mlx_config({{"rope_parameters", nullptr}, {"rope_theta", 1e4}, {"rope_scaling", rope}});
    EXPECT_EQ(old.at("rope_scaling").at("original_max_position_embeddings"), 512) << type;
  }
}

TEST(MlxRope, AnAttentionFactorBecomesAnMscale) {
  const json::Object config = mlx_config({{"rope_parameters", parameters(R"({"rope_type": "yarn", "rope_theta": 1e4,
      "factor": 4.0, "attention_factor": 1.25, "original_max_position_embeddings": 64})")}});
  const json::Object& scaling = config.at("rope_scaling").as_object();
  const double mscale = scaling.at("mscale").as_double();
  EXPECT_NEAR(0.1 * mscale * std::log(4.0) + 1.0, 1.25, 1e-12);
  EXPECT_EQ(scaling.at("mscale_all_dim"), 0.0);
}

TEST(MlxRope, WhatItsClassesCannotComputeIsRefused) {
  const auto yarn = [](const char* more) {
    return parameters(str(R"({"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, )", more, "}"));
  };
  EXPECT_TRUE(contains(mlx_refusal({{"rope_parameters", yarn(R"("truncate": false)")}}), "truncate"));
  EXPECT_TRUE(contains(mlx_refusal({{"model_type", "gemma2"}, {"rope_parameters", yarn(R"("beta_fast": 32)")}}),
                       "knows no rope scaling"));
}

TEST(MlxRope, TheBaseInsideIsTheOneThatCounts) {
  const json::Object config = mlx_config(
      {{"rope_theta", 5e5}, {"rope_parameters", parameters(R"({"rope_type": "default", "rope_theta": 2e4})")}});
  EXPECT_EQ(config.at("rope_theta"), 2e4);
  const json::Object scaled =
      mlx_config({{"rope_parameters", parameters(R"({"rope_type": "default", "rope_theta": 2e4})")},
                  {"rope_scaling", parameters(R"({"type": "linear", "factor": 2.0})")}});
  EXPECT_EQ(scaled.at("rope_theta"), 1e4) << "rope_scaling counts whole, and says none";
}

TEST(MlxRope, WhatYarnLeavesOpenIsSaid) {
  const json::Object config = mlx_config({{"rope_parameters", parameters(R"({"rope_type": "yarn", "rope_theta": 1e4,
      "factor": null, "original_max_position_embeddings": 64, "beta_fast": 0, "mscale": null, "mscale_all_dim": 0.7})")}});
  const json::Object& scaling = config.at("rope_scaling").as_object();
  EXPECT_EQ(scaling.at("factor"), 8.0) << "512 / 64";
  EXPECT_FALSE(scaling.contains("beta_fast")) << "0 is the default to transformers, and no number to mlx-lm";
  EXPECT_EQ(scaling.at("mscale_all_dim"), 0.7) << "Deepseek's attention looks at it, too";
  const double log = 0.1 * std::log(8.0);
  EXPECT_NEAR((scaling.at("mscale").as_double() * log + 1) / (0.7 * log + 1), log + 1, 1e-12);
}

std::string pairs(double first) {
  std::string text = "[";
  for (int i = 0; i < 16; ++i) text += str(i == 0 ? "" : ", ", first + i);
  return text + "]";
}

json::Object longrope(const std::string& few, const std::string& many, const char* more) {
  return parameters(str(R"({"rope_type": "longrope", "rope_theta": 1e4, "short_factor": )", few, R"(, "long_factor": )",
                        many, R"(, "original_max_position_embeddings": 64)", more, "}"));
}

// mlx-lm turns texts of any length by the long factors.
TEST(MlxRope, LongropeIsRefusedWhereTheShortFactorsCount) {
  const auto refused = [](const json::Object& rope) { return mlx_refusal({{"rope_parameters", rope}}); };
  EXPECT_TRUE(contains(refused(longrope(pairs(1.0), pairs(2.0), "")), "long_factor"));
  EXPECT_TRUE(contains(refused(longrope(pairs(1.0), pairs(1.0), R"(, "attention_factor": 1.5)")), "attention_factor"));
  EXPECT_TRUE(contains(refused(longrope(pairs(1.0), pairs(1.0), R"(, "factor": 2.0)")), "factor"));
  EXPECT_NO_THROW((void)mlx_config({{"rope_parameters", longrope(pairs(1.0), pairs(1.0), "")}}));
  const json::Object config =
      mlx_config({{"max_position_embeddings", 64}, {"rope_parameters", longrope(pairs(1.0), pairs(2.0), "")}});
  EXPECT_EQ(config.at("rope_scaling").at("long_factor"), config.at("rope_scaling").at("short_factor"));
}

TEST(MlxRope, PlainOnesAreAsTheReferenceWritesThem) {
  const json::Object config = mlx_config({});
  EXPECT_EQ(config.at("rope_theta"), 1e4);
  EXPECT_EQ(config.at("rope_type"), "default");
  EXPECT_FALSE(config.contains("rope_scaling"));
}

TEST(MlxRope, OneRopeForEachKindOfLayer) {
  const json::Object config = mlx_config(
      {{"model_type", "gemma3_text"},
       {"rope_parameters", parameters(R"({"full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
                                          "sliding_attention": {"rope_type": "default", "rope_theta": 2e4}})")}});
  EXPECT_EQ(config.at("rope_theta"), 1e6);
  EXPECT_EQ(config.at("rope_local_base_freq"), 2e4);
  EXPECT_EQ(config.at("rope_scaling").at("factor"), 8.0);
  EXPECT_TRUE(config.contains("rope_parameters")) << "gemma4 and others read it there";
}

TEST(MlxDefaults, WhatTransformersTakesForGrantedIsSaid) {
  const json::Object qwen2 = mlx_config({{"model_type", "qwen2"}, {"rope_parameters", nullptr}});
  EXPECT_EQ(qwen2.at("rope_theta"), 1e4) << "mlx-lm takes 1e6";
  const json::Object mistral = mlx_config({{"model_type", "mistral"},
                                           {"sliding_window", 4096},
                                           {"rms_norm_eps", nullptr},
                                           {"max_position_embeddings", 2048}});
  EXPECT_EQ(mistral.at("rms_norm_eps"), 1e-6);
  const json::Object qwen3 = mlx_config({{"max_position_embeddings", nullptr}}, "source-qwen3-bf16");
  EXPECT_EQ(qwen3.at("max_position_embeddings"), 32768);
}

// What is said of a language model inside another is translated there.
TEST(MlxRope, NestedConfigurationsAreTranslatedToo) {
  const TemporaryFolder folder;
  Checkpoint model = testing::tiny_checkpoint("source-llama-bf16");
  json::Object text = model.config;
  text["model_type"] = "qwen2_vl_text";
  text.erase("tie_word_embeddings");
  text["rope_parameters"] = json::Object{{"rope_type", "linear"}, {"rope_theta", 5e5}, {"factor", 2.0}};
  model.config = {{"model_type", "qwen2_vl"}, {"text_config", text}};
  (void)run(to_mlx(model.write(folder.path() / "model"), folder.path() / "out"));
  const json::Object config = config_of(folder.path() / "out");
  EXPECT_EQ(config.at("text_config").at("rope_theta"), 5e5);
  EXPECT_EQ(config.at("text_config").at("rope_scaling").at("factor"), 2.0);
  EXPECT_FALSE(config.at("text_config").at("tie_word_embeddings").as_bool()) << "qwen2's class would tie";
  EXPECT_FALSE(config.contains("rope_theta"));
}

TEST(MlxDefaults, KeysThatTransformersRenamedAreThereUnderBothNames) {
  const json::Object config =
      mlx_config({{"num_experts", nullptr}, {"num_local_experts", 4}, {"model_type", "qwen3_moe"}});
  EXPECT_EQ(config.at("num_experts"), 4);
  const json::Object glm = mlx_config({{"model_type", "glm4_moe"}});
  EXPECT_EQ(glm.at("rope_scaling").at("type"), "default") << "its class does not start without one";
}

// What a class has built in, another model of the family may have otherwise.
TEST(MlxSettings, WhatAClassHasBuiltInIsNotAskedOtherwise) {
  struct Case {
    const char *settings, *says;
  };
  const Case cases[] = {
      {R"({"hidden_act": "gelu"})", "'hidden_act' \"silu\" built in"},
      {R"({"model_type": "mistral", "sliding_window": 512, "hidden_act": "relu"})", "hidden_act"},
      {R"({"model_type": "olmoe", "clip_qkv": 8.0})", "clip_qkv"},
      {R"({"model_type": "phimoe"})", "attention_bias"},
      {R"({"model_type": "gpt_neox", "attention_bias": null, "hidden_act": "gelu"})", "4 x 'hidden_size'"},
      {R"({"model_type": "gpt_neox", "hidden_act": "gelu", "intermediate_size": 512})", "attention_bias"},
      {R"({"model_type": "starcoder2", "hidden_act": "gelu_new", "use_bias": false})", "use_bias"},
      {R"({"model_type": "qwen2_moe", "norm_topk_prob": true})", "norm_topk_prob"},
      {R"({"model_type": "olmo"})", "does not start without 'd_model'"},
      {R"({"model_type": "phi3", "sliding_window": 64})", "sliding window"},
      {R"({"model_type": "gemma2", "sliding_window": 64})", "sliding window"},
      {R"({"rope_scaling": {"type": "linear", "factor": 2.0}, "partial_rotary_factor": 0.5})", "whole heads"}};
  for (const Case& entry : cases) {
    const std::string refused = mlx_refusal(parameters(entry.settings));
    EXPECT_TRUE(contains(refused, entry.says)) << refused;
  }
  EXPECT_NO_THROW((void)mlx_config({{"hidden_act", "swish"}}));
  EXPECT_NO_THROW((void)mlx_config({{"model_type", "olmoe"}, {"clip_qkv", nullptr}}));
}

TEST(MlxSettings, ALayerThatItsClassTakesApartStaysUnpacked) {
  const TemporaryFolder folder;
  Checkpoint model = testing::tiny_checkpoint("source-llama-bf16");
  for (const char* block : {"0", "1"})
    model.rename(str("model.layers.", block, ".self_attn.v_proj.weight"),
                 str("model.layers.", block, ".self_attn.kv_b_proj.weight"));
  model.config["model_type"] = "deepseek_v3";
  QuantizeOptions options = to_mlx(model.write(folder.path() / "model"), folder.path() / "out");
  EXPECT_TRUE(contains(testing::refusal(ErrorCode::unsupported, [&] { (void)run(options); }),
                       "pass --ignore_layers kv_b_proj"));
  options.ignore_layers = {"kv_b_proj"};
  EXPECT_NO_THROW((void)run(options));
}

TEST(MlxSettings, LayersThatSeeEverythingAreCountedOff) {
  const auto layers = [](const char* first, const char* second) {
    return json::Object{{"model_type", "cohere2"}, {"layer_types", json::Array{first, second}}};
  };
  EXPECT_EQ(mlx_config(layers("sliding_attention", "full_attention")).at("sliding_window_pattern"), 2);
  EXPECT_TRUE(contains(mlx_refusal(layers("full_attention", "sliding_attention")), "every n-th layer"));
  EXPECT_TRUE(contains(mlx_refusal(layers("sliding_attention", "sliding_attention")), "every n-th layer"));
  EXPECT_TRUE(contains(mlx_refusal({{"model_type", "glm"}}), "rotates whole heads"));
}

TEST(MlxSettings, NumbersThatFollowFromOthersAreWritten) {
  EXPECT_EQ(mlx_config({{"model_type", "exaone4"}, {"head_dim", nullptr}}).at("head_dim"), 32);
  EXPECT_EQ(mlx_config({{"model_type", "stablelm"}}).at("partial_rotary_factor"), 0.25);
}

TEST(MlxDefaults, AWindowThatItsClassDoesNotKnowIsRefused) {
  EXPECT_TRUE(contains(mlx_refusal({{"model_type", "mistral"}, {"sliding_window", 64}}), "sliding window"));
  EXPECT_TRUE(contains(mlx_refusal({{"use_sliding_window", true},
                                    {"sliding_window", 64},
                                    {"layer_types", json::Array{"full_attention", "sliding_attention"}}},
                                   "source-qwen3-bf16"),
                       "sliding window"));
  EXPECT_NO_THROW((void)mlx_config({{"model_type", "mistral"}, {"sliding_window", 512}})) << "as long as the model";
}

// Old checkpoints carry them; a class refuses what it has no place for.
TEST(MlxNames, OldBuffersAreKeptWhereMlxDoesNotLook) {
  const TemporaryFolder folder;
  Checkpoint model = testing::tiny_checkpoint("source-llama-bf16");
  const std::string attention = "model.layers.0.self_attn.";
  model.tensors[attention + "masked_bias"] = at::full({}, -1e4);
  model.tensors[attention + "bias"] = at::ones({1, 1, 8, 8}).to(at::kByte);
  model.tensors[attention + "rotary_emb.cos_cached"] = at::ones({8, 32});
  for (const char* block : {"0", "1"})  // config.json says there is none
    model.tensors[str("model.layers.", block, ".self_attn.q_proj.bias")] = at::zeros({128});
  for (const bool model_free : {false, true}) {
    QuantizeOptions options = to_mlx(model.write(folder.path() / "model"), folder.path() / "out");
    options.model_free = model_free;
    (void)run(options);
    const auto loaded = open_safetensors(folder.path() / "out" / "model.safetensors");
    for (const TensorInfo& info : loaded->tensors())
      EXPECT_FALSE(contains(info.name, "bias") && !info.name.ends_with(".biases")) << info.name;
    EXPECT_TRUE(fs::exists(folder.path() / "out" / "extra_tensors.safetensors"));
    Reporter silent;
    const json::Object report = verify({.directory = folder.path() / "out", .against = {}}, registry(), silent);
    EXPECT_TRUE(report.at("passed").as_bool()) << json::dump(report.at("checks"), 2);
  }
}

// Where the class is not known by heart, the buffers' own names and shapes tell.
TEST(MlxNames, OldBuffersOfOtherFamiliesTooButNoTrueBias) {
  const TemporaryFolder folder;
  Checkpoint model = testing::tiny_checkpoint("source-llama-bf16");
  model.config["model_type"] = "granite";
  const std::string attention = "model.layers.0.self_attn.";
  model.tensors[attention + "masked_bias"] = at::full({}, -1e4);
  model.tensors[attention + "bias"] = at::ones({1, 1, 8, 8}).to(at::kByte);
  for (const char* block : {"0", "1"})
    model.tensors[str("model.layers.", block, ".self_attn.q_proj.bias")] = at::ones({128});
  (void)run(to_mlx(model.write(folder.path() / "model"), folder.path() / "out"));
  const auto extra = open_safetensors(folder.path() / "out" / "extra_tensors.safetensors");
  EXPECT_EQ(extra->tensors().size(), 2U);
  EXPECT_EQ(extra->find(attention + "q_proj.bias"), nullptr);
}

TEST(MlxNames, ClassifiersAndBiasesWithoutAPlaceAreRefused) {
  EXPECT_TRUE(contains(mlx_refusal({{"attention_bias", true}}, "source-qwen3-bf16"), "biases"));
  const TemporaryFolder folder;
  Checkpoint model = testing::tiny_checkpoint("source-llama-bf16");
  model.config["architectures"] = json::Array{"LlamaForSequenceClassification"};
  model.config["model_type"] = "of_tomorrow";
  model.tensors["score.weight"] = at::zeros({2, 128}).to(at::kBFloat16);
  model.tensors.erase("lm_head.weight");
  const std::string path = model.write(folder.path() / "model");
  EXPECT_TRUE(
      contains(testing::refusal(ErrorCode::unsupported, [&] { (void)run(to_mlx(path, folder.path() / "out")); }),
               "language models only"));
}

constexpr const char* kStack = "model.layers.0.mlp.switch_mlp.up_proj";

TEST(MlxExperts, AreStackedAsTheClassKeepsThem) {
  const TemporaryFolder folder;
  QuantizeOptions options = to_mlx(testing::tiny_model("source-fusedmoe-bf16"), folder.path() / "out");
  (void)run(options);
  const auto weights = open_safetensors(folder.path() / "out");
  EXPECT_EQ(weights->load(std::string(kStack) + ".weight").sizes(), (std::vector<int64_t>{4, 64, 16}));
  EXPECT_EQ(weights->load(std::string(kStack) + ".scales").sizes(), (std::vector<int64_t>{4, 64, 4}));
  for (const TensorInfo& info : weights->tensors()) EXPECT_FALSE(contains(info.name, ".experts.")) << info.name;
  const json::Object config = config_of(folder.path() / "out");
  EXPECT_EQ(config.at("quantization").at(kStack).at("bits"), 4);

  const std::unique_ptr<ModelSource> read = open_source((folder.path() / "out").string(), registry());
  QuantizeOptions gptq = to_mlx(options.model, folder.path() / "gptq");
  gptq.formats = {"auto_round"};
  (void)run(gptq);
  const std::unique_ptr<ModelSource> other = open_source(gptq.output_dir.string(), registry());
  ASSERT_EQ(sdk::packed_layers(*read).size(), sdk::packed_layers(*other).size());
  for (const LinearSpec& spec : sdk::packed_layers(*other))
    EXPECT_TRUE(sdk::packed_of(*read).unpack(spec.name).codes.equal(sdk::packed_of(*other).unpack(spec.name).codes))
        << spec.name;
  Reporter silent;
  const json::Object report = verify({.directory = folder.path() / "out", .against = {}}, registry(), silent);
  EXPECT_TRUE(report.at("passed").as_bool()) << json::dump(report.at("checks"), 2);
}

TEST(MlxExperts, ConvertStacksThemToo) {
  const TemporaryFolder folder;
  QuantizeOptions options = to_mlx(testing::tiny_model("source-fusedmoe-bf16"), folder.path() / "first");
  options.formats = {"auto_round"};
  (void)run(options);
  Reporter silent;
  (void)convert({.model = (folder.path() / "first").string(), .formats = {"mlx"}, .output_dir = folder.path() / "mlx"},
                registry(), silent);
  EXPECT_NE(open_safetensors(folder.path() / "mlx")->find(std::string(kStack) + ".weight"), nullptr);
}

TEST(MlxExperts, PlainOnesAreStackedBesidePackedOnes) {
  const TemporaryFolder folder;
  QuantizeOptions options = to_mlx(testing::tiny_model("source-fusedmoe-bf16"), folder.path() / "out");
  options.ignore_layers = {"up_proj"};
  (void)run(options);
  const auto weights = open_safetensors(folder.path() / "out");
  const auto source = open_safetensors(options.model);
  const at::Tensor fused = source->load("model.layers.0.mlp.experts.gate_up_proj");
  EXPECT_TRUE(weights->load(std::string(kStack) + ".weight").equal(fused.narrow(1, 64, 64)));
}

TEST(MlxExperts, WhatTheClassCannotHoldIsRefused) {
  const TemporaryFolder folder;
  QuantizeOptions options = to_mlx(testing::tiny_model("source-fusedmoe-bf16"), folder.path() / "out");
  options.layer_config = R"({"model.layers.0.mlp.experts.2.up_proj": {"bits": 8}})";
  EXPECT_TRUE(contains(testing::refusal(ErrorCode::unsupported, [&] { (void)run(options); }), "give them the same"));
  Checkpoint model = testing::tiny_checkpoint("source-fusedmoe-bf16");
  model.config["model_type"] = "qwen3_next";
  options = to_mlx(model.write(folder.path() / "next"), folder.path() / "out");
  EXPECT_TRUE(contains(testing::refusal(ErrorCode::unsupported, [&] { (void)run(options); }), "weights of 16 bits"));
}

TEST(MlxRuntime, RefusesModelTypesWithoutAClass) {
  const TemporaryFolder folder;
  Checkpoint model = testing::tiny_checkpoint("source-llama-bf16");
  model.config["model_type"] = "of_tomorrow";
  QuantizeOptions options = to_mlx(model.write(folder.path() / "model"), folder.path() / "out");
  options.runtime = "mlx";
  EXPECT_TRUE(contains(testing::refusal(ErrorCode::unsupported, [&] { (void)run(options); }),
                       "has no class for model_type 'of_tomorrow'"));
  options.runtime = "";
  testing::Recorder recorder;
  (void)quantize(options, registry(), recorder);
  EXPECT_EQ(recorder.warnings.size(), 1U);
}

// Other loaders: the words of transformers 4 are added where they would take something else for granted.
TEST(OldRopeWords, AreAddedBesideTheNew) {
  const auto config = [](const json::Object& rope, const char* format) {
    const TemporaryFolder folder;
    Checkpoint model = testing::tiny_checkpoint("source-llama-bf16");
    model.config["rope_parameters"] = rope;
    QuantizeOptions options = to_mlx(model.write(folder.path() / "model"), folder.path() / "out");
    options.formats = {format};
    (void)run(options);
    return config_of(folder.path() / "out");
  };
  for (const char* format : {"auto_round", "auto_gptq", "auto_awq", "llm_compressor", "fake"}) {
    const json::Object scaled = config({{"rope_type", "linear"}, {"rope_theta", 5e5}, {"factor", 2.0}}, format);
    EXPECT_EQ(scaled.at("rope_theta"), 5e5) << format;
    EXPECT_EQ(scaled.at("rope_scaling"), (json::Object{{"rope_type", "linear"}, {"factor", 2.0}})) << format;
    EXPECT_TRUE(scaled.contains("rope_parameters")) << format;
    const json::Object plain = config({{"rope_type", "default"}, {"rope_theta", 10000.0}}, format);
    EXPECT_FALSE(plain.contains("rope_theta")) << format << ": everybody's default, as the reference leaves it";
  }
}

}  // namespace
}  // namespace arkit
