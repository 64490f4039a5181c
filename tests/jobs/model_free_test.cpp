// Rounding without a model family: architectures nobody knows, fused experts, packed and sharded sources.
#include <fstream>

#include <ATen/ATen.h>

#include <arkit/json.h>
#include <arkit/model_source.h>
#include <arkit/sdk/layer_rules.h>
#include <arkit/str.h>

#include "jobs/job_testing.h"
#include "jobs/tiny_checkpoint.h"
#include "jobs/written_model.h"
#include "util/sha256.h"

namespace arkit {
namespace {

namespace fs = std::filesystem;
using testing::contains;
using testing::TemporaryFolder;
using testing::write_config;
using testing::write_tensors;

QuantizeOptions rounding(const std::string& model, const fs::path& out) {
  QuantizeOptions options;
  options.model = model;
  options.output_dir = out;
  options.recipe = "rtn";
  return options;
}

void run(const QuantizeOptions& options) {
  Reporter silent;
  (void)quantize(options, testing::registry(), silent);
}

// Does `arkit verify` find the export to be what its source says?
::testing::AssertionResult verified(const QuantizeOptions& options) {
  Reporter silent;
  const json::Object report =
      verify({.directory = options.output_dir, .against = options.model}, testing::registry(), silent);
  if (report.at("passed").as_bool()) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << json::dump(report.at("checks"), 2);
}

json::Object quantization_config(const fs::path& folder) {
  const json::Value value = json::read_file(folder / "quantization_config.json");
  return value.as_object();
}

TEST(ModelFree, IsChosenWhereNothingIsTunedOrSearched) {
  const TemporaryFolder folder;
  QuantizeOptions options = rounding(testing::tiny_model("source-llama-bf16"), folder.path() / "by_itself");
  run(options);
  EXPECT_TRUE(quantization_config(options.output_dir).contains("model_free"));
  options.output_dir = folder.path() / "never";
  options.model_free = false;
  run(options);
  EXPECT_FALSE(quantization_config(options.output_dir).contains("model_free"));
}

TEST(ModelFree, RefusesWhatNeedsForwardPasses) {
  const TemporaryFolder folder;
  QuantizeOptions options = rounding(testing::tiny_model("source-llama-bf16"), folder.path() / "out");
  options.model_free = true;
  options.tuning.iters = 5;
  EXPECT_TRUE(contains(testing::refusal(ErrorCode::usage, [&] { run(options); }), "--iters 0"));
  options.tuning.iters = 0;
  options.scheme = "FP8_STATIC";
  EXPECT_TRUE(contains(testing::refusal(ErrorCode::usage, [&] { run(options); }), "static activation"));
  EXPECT_FALSE(fs::exists(options.output_dir / "config.json"));
}

// A copy of the tiny llama whose config.json claims another architecture.
fs::path unknown_architecture(const fs::path& folder) {
  fs::create_directories(folder);
  const fs::path source = testing::tiny_model("source-llama-bf16");
  fs::copy_file(source / "model.safetensors", folder / "model.safetensors");
  json::Object config = json::read_file(source / "config.json").as_object();
  config["model_type"] = "of_tomorrow";
  config["architectures"] = json::Array{"OfTomorrowForCausalLM"};
  write_config(folder, std::move(config));
  return folder;
}

TEST(ModelFree, RoundsArchitecturesThatNoPluginKnows) {
  const TemporaryFolder folder;
  const fs::path model = unknown_architecture(folder.path() / "model");
  QuantizeOptions options = rounding(model.string(), folder.path() / "out");
  run(options);
  const auto known = open_safetensors(testing::tiny_model("auto_round-W4A16"));
  const auto unknown = open_safetensors(options.output_dir);
  for (const TensorInfo& tensor : known->tensors())
    EXPECT_TRUE(known->load(tensor.name).equal(unknown->load(tensor.name))) << tensor.name;
  EXPECT_TRUE(verified(options));
  options.model_free = false;
  EXPECT_TRUE(contains(testing::refusal(ErrorCode::unsupported, [&] { run(options); }), "of_tomorrow"));
}

// Rounding needs no activation; what cannot be computed is said, and is no fault of the export.
TEST(ModelFree, VerifySaysWhatItsFamilyCannotCompute) {
  const TemporaryFolder folder;
  testing::Checkpoint checkpoint = testing::tiny_checkpoint("source-llama-bf16");
  checkpoint.config["hidden_act"] = "act_of_tomorrow";
  const QuantizeOptions options = rounding(checkpoint.write(folder.path() / "model"), folder.path() / "out");
  run(options);
  EXPECT_TRUE(verified(options));
  Reporter silent;
  const json::Object report =
      verify({.directory = options.output_dir, .against = options.model}, testing::registry(), silent);
  EXPECT_TRUE(contains(json::dump(report.at("checks")), "cannot be computed: "));
  EXPECT_TRUE(contains(json::dump(report.at("checks")), "act_of_tomorrow"));
  // What is missing stays a fault: the family knows the rest.
  checkpoint.config["hidden_act"] = "silu";
  checkpoint.tensors.erase("model.norm.weight");
  const json::Object damaged =
      verify({.directory = checkpoint.write(folder.path() / "damaged"), .against = {}}, testing::registry(), silent);
  EXPECT_FALSE(damaged.at("passed").as_bool());
}

TEST(ModelFree, RoundsAPackedExportThroughItsDequantizedWeights) {
  const TemporaryFolder folder;
  QuantizeOptions options = rounding(testing::tiny_model("source-llama-bf16"), folder.path() / "w8");
  options.scheme = "W8A16";
  run(options);
  QuantizeOptions again = rounding(options.output_dir.string(), folder.path() / "w4");
  EXPECT_TRUE(contains(testing::refusal(ErrorCode::unsupported, [&] { run(again); }), "--model_free"));
  again.model_free = true;
  run(again);
  EXPECT_EQ(quantization_config(again.output_dir).at("bits").as_int64(), 4);
  EXPECT_TRUE(verified(again));
  const auto tensors = open_safetensors(again.output_dir);
  const at::Tensor packed = tensors->load("model.layers.0.mlp.up_proj.qweight");
  EXPECT_EQ(packed.sizes(), (std::vector<int64_t>{16, 256}));  // [in / 8, out]
}

TEST(ModelFree, FusedExpertsBecomeLayersOfTheirOwn) {
  constexpr int64_t kExperts = 3, kHidden = 128, kInner = 64;
  const TemporaryFolder folder;
  const std::string mlp = "model.layers.0.mlp.";
  at::manual_seed(3);
  const at::Tensor gate_up = at::randn({kExperts, 2 * kInner, kHidden}).to(at::kBFloat16);
  const at::Tensor down = at::randn({kExperts, kHidden, kInner}).to(at::kBFloat16);
  const at::Tensor router = at::randn({kExperts, kHidden}).to(at::kBFloat16);
  TensorMap apart{{mlp + "gate.weight", router}};
  for (int64_t e = 0; e < kExperts; ++e) {
    const std::string expert = mlp + "experts." + std::to_string(e) + ".";
    apart[expert + "gate_proj.weight"] = gate_up[e].narrow(0, 0, kInner);
    apart[expert + "up_proj.weight"] = gate_up[e].narrow(0, kInner, kInner);
    apart[expert + "down_proj.weight"] = down[e];
  }
  TensorMap fused{
      {mlp + "gate.weight", router}, {mlp + "experts.gate_up_proj", gate_up}, {mlp + "experts.down_proj", down}};
  for (const auto& [name, tensors] : {std::pair("apart", &apart), std::pair("fused", &fused)}) {
    fs::create_directories(folder.path() / name);
    write_tensors(folder.path() / name / "model.safetensors", *tensors);
    write_config(folder.path() / name, {{"model_type", "some_moe"}, {"hidden_size", kHidden}});
    QuantizeOptions options = rounding((folder.path() / name).string(), folder.path() / (std::string(name) + "-out"));
    options.overrides.group_size = 32;
    run(options);
    EXPECT_TRUE(verified(options));
  }
  const auto a = open_safetensors(folder.path() / "apart-out"), b = open_safetensors(folder.path() / "fused-out");
  ASSERT_EQ(a->tensors().size(), b->tensors().size());
  for (const TensorInfo& tensor : a->tensors())
    EXPECT_TRUE(a->load(tensor.name).equal(b->load(tensor.name))) << tensor.name;
  EXPECT_NE(b->find(mlp + "experts.2.down_proj.qweight"), nullptr);
  EXPECT_TRUE(b->load(mlp + "gate.weight").equal(router)) << "a router stays as it is";
}

// Shards are read in their order, and the hashes are those of the files.
TEST(ModelFree, ReadsAShardedModelFromEndToEnd) {
  const TemporaryFolder folder;
  QuantizeOptions sharded = rounding(testing::tiny_model("source-llama-bf16"), folder.path() / "sharded");
  sharded.scheme = "BF16";
  sharded.formats = {"fake"};
  sharded.max_shard_bytes = 200'000;
  run(sharded);
  ASSERT_TRUE(fs::exists(sharded.output_dir / "model.safetensors.index.json"));
  for (const char* scheme : {"W4A16", "MXFP4"}) {
    QuantizeOptions options = rounding(sharded.output_dir.string(), folder.path() / scheme);
    options.scheme = scheme;
    options.model_free = true;
    run(options);
    const auto got = open_safetensors(options.output_dir);
    QuantizeOptions whole = rounding(testing::tiny_model("source-llama-bf16"), folder.path() / "whole");
    whole.scheme = scheme;
    whole.force = true;
    run(whole);
    const auto expected = open_safetensors(whole.output_dir);
    ASSERT_EQ(got->tensors().size(), expected->tensors().size());
    for (const TensorInfo& tensor : expected->tensors())
      EXPECT_TRUE(got->load(tensor.name).equal(expected->load(tensor.name))) << scheme << " " << tensor.name;
    const json::Value record = json::read_file(options.output_dir / "arkit-run.json");
    const json::Array& files = record.at("source").at("files").as_array();
    EXPECT_GT(files.size(), 3U);
    for (const json::Value& file : files)
      EXPECT_EQ(file.at("sha256").as_string(),
                sha256_file(sharded.output_dir / std::string(file.at("name").as_string())));
  }
}

// What is said about the language model of several senses stands in an object of its own.
TEST(ModelFree, ReadsANestedTextConfig) {
  const TemporaryFolder folder;
  const fs::path model = unknown_architecture(folder.path() / "model");
  json::Object text = json::read_file(model / "config.json").as_object();
  write_config(model, {{"model_type", "of_two_senses"}, {"text_config", text}});
  QuantizeOptions options = rounding(model.string(), folder.path() / "out");
  options.num_hidden_layers = 1;
  run(options);
  const json::Value config = json::read_file(options.output_dir / "config.json");
  EXPECT_EQ(config.at("text_config").at("num_hidden_layers").as_int64(), 1);
  EXPECT_FALSE(config.as_object().contains("num_hidden_layers"));
  const auto tensors = open_safetensors(options.output_dir);
  EXPECT_NE(tensors->find("model.layers.0.mlp.up_proj.qweight"), nullptr);
  EXPECT_EQ(tensors->find("model.layers.1.mlp.up_proj.qweight"), nullptr);
  EXPECT_FALSE(config.at("text_config").at("tie_word_embeddings").as_bool());
  EXPECT_NE(tensors->find("lm_head.weight"), nullptr);
  EXPECT_TRUE(verified(options));
}

TEST(ModelFree, RefusesFusedExpertsThatCannotBeCut) {
  struct Case {
    std::vector<int64_t> shape;
    ErrorCode code;
    std::string part;
  };
  for (const Case& wrong :
       {Case{{2, 33, 64}, ErrorCode::input, "cannot be cut into 2"},
        Case{{0, 32, 64}, ErrorCode::input, "cannot be cut into 2"},
        Case{{2, 64, 128}, ErrorCode::unsupported, "does not hold experts as [experts, out, in]"}}) {
    const TemporaryFolder folder;
    write_tensors(folder.path() / "model.safetensors",
                  {{"model.layers.0.mlp.experts.gate_up_proj", at::zeros(wrong.shape, at::kBFloat16)}});
    write_config(folder.path(), {{"model_type", "some_moe"}, {"hidden_size", 64}});
    QuantizeOptions options = rounding(folder.path().string(), folder.path() / "out");
    options.model_free = true;
    EXPECT_TRUE(contains(testing::refusal(wrong.code, [&] { run(options); }), wrong.part));
  }
}

TEST(ModelFree, RefusesTransposedWeights) {
  const TemporaryFolder folder;
  write_tensors(folder.path() / "model.safetensors", {{"h.0.attn.c_attn.weight", at::zeros({64, 192}, at::kBFloat16)}});
  write_config(folder.path(), {{"model_type", "gpt2"}});
  QuantizeOptions options = rounding(folder.path().string(), folder.path() / "out");
  options.model_free = true;
  EXPECT_TRUE(contains(testing::refusal(ErrorCode::unsupported, [&] { run(options); }), "Conv1D"));
}

TEST(ModelFree, NeverWritesOverItsOwnModel) {
  const TemporaryFolder folder;
  const fs::path model = unknown_architecture(folder.path() / "model");
  QuantizeOptions options = rounding(model.string(), model);
  options.force = true;
  EXPECT_TRUE(contains(testing::refusal(ErrorCode::usage, [&] { run(options); }), "the model itself"));
  EXPECT_TRUE(fs::exists(model / "model.safetensors"));
}

TEST(ModelFree, RefusesACheckpointWithoutBlocks) {
  const TemporaryFolder folder;
  write_tensors(folder.path() / "model.safetensors", {{"embeddings.weight", at::zeros({4, 64}, at::kBFloat16)}});
  write_config(folder.path(), {{"model_type", "nothing"}});
  QuantizeOptions options = rounding(folder.path().string(), folder.path() / "out");
  options.model_free = true;
  EXPECT_TRUE(contains(testing::refusal(ErrorCode::input, [&] { run(options); }), "decoder block"));
}

TEST(LayerRules, GuessRolesAndExpertsFromNames) {
  struct Guess {
    const char* name;
    LayerRole role;
    const char* experts;
    int64_t expert;
    LayerKind kind;
  };
  using enum LayerRole;
  for (const Guess& g :
       {Guess{"model.layers.1.mlp.experts.12.up_proj", up, "model.layers.1.mlp.experts", 12, LayerKind::expert},
        Guess{"l.0.block_sparse_moe.experts.0.w2", down, "l.0.block_sparse_moe.experts", 0, LayerKind::expert},
        Guess{"l.0.ffn.experts_3.w1", gate, "l.0.ffn.experts_3", -1, LayerKind::linear},
        Guess{"l.0.moe.up_proj", up, "", -1, LayerKind::expert},
        Guess{"l.0.mlp.shared_expert.down_proj", down, "", -1, LayerKind::linear},
        Guess{"l.0.mlp.shared_expert_gate", shared_gate, "", -1, LayerKind::linear},
        Guess{"l.0.mlp.gate", router, "", -1, LayerKind::linear},
        Guess{"l.0.self_attn.kv_b_proj", latent_up, "", -1, LayerKind::linear},
        Guess{"visual.blocks.0.attn.qkv_proj", vision, "", -1, LayerKind::linear},
        Guess{"lm_head", head, "", -1, LayerKind::linear}, Guess{"l.0.mixer.dt", other, "", -1, LayerKind::linear}}) {
    LayerPlan layer{.name = g.name};
    model_free::guess_layer(layer);
    EXPECT_EQ(layer.role, g.role) << g.name;
    EXPECT_EQ(layer.experts, g.experts) << g.name;
    EXPECT_EQ(layer.expert, g.expert) << g.name;
    EXPECT_EQ(layer.kind, g.kind) << g.name;
  }
}

TEST(LayerRules, FindsTheBlockOfALayer) {
  const auto place = model_free::block_place("model.layers.12.mlp.experts.3.up_proj");
  ASSERT_TRUE(place);
  EXPECT_EQ(place->list, "model.layers");
  EXPECT_EQ(place->index, 12);
  EXPECT_FALSE(model_free::block_place("lm_head"));
  EXPECT_FALSE(model_free::block_place("model.layers.12"));
  EXPECT_FALSE(model_free::block_place("model.layers.99999999999999999999.up_proj"));
}

TEST(LayerRules, KeepsRoutersTowersAndWhatAnArchitectureNames) {
  const model_free::LayerRules plain(json::Object{{"model_type", "llama"}});
  EXPECT_EQ(plain.why_kept("model.layers.0.mlp.gate_proj"), "");
  EXPECT_NE(plain.why_kept("model.layers.0.mlp.gate"), "");
  EXPECT_NE(plain.why_kept("model.layers.0.mlp.shared_expert_gate"), "");
  EXPECT_NE(plain.why_kept("model.layers.0.mlp.router"), "");
  EXPECT_NE(plain.why_kept("model.visual.blocks.0.attn.qkv"), "");
  const model_free::LayerRules step(json::Object{{"model_type", "step3p5"}});
  EXPECT_NE(step.why_kept("model.layers.45.mlp.up_proj"), "");
  EXPECT_EQ(step.why_kept("model.layers.4.mlp.up_proj"), "");
  const model_free::LayerRules glm(
      json::Object{{"architectures", json::Array{"Glm4MoeLiteForCausalLM"}}, {"first_k_dense_replace", 2}});
  EXPECT_NE(glm.why_kept("model.layers.1.mlp.down_proj"), "");
  EXPECT_EQ(glm.why_kept("model.layers.2.mlp.down_proj"), "");
  EXPECT_EQ(glm.why_kept("model.layers.12.mlp.down_proj"), "");
}

}  // namespace
}  // namespace arkit
