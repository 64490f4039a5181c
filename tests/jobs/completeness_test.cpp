// Checkpoints with something missing, and right ones that only look so.

#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/json.h>
#include <arkit/model_source.h>
#include <arkit/str.h>

#include "formats/memory_source.h"
#include "jobs/job_testing.h"
#include "jobs/tiny_checkpoint.h"
#include "model_free/completeness.h"

namespace arkit {
namespace {

using model_free::require_complete;
using test::MemorySource;
using testing::contains;

using Names = std::set<std::string>;

json::Object config_of(const char* text) {
  return json::parse(text, "config").as_object();
}

void fill(MemorySource& source, const Names& names) {
  for (const std::string& name : names) source.memory.add(name, at::zeros({2, 2}, at::kBFloat16), "BF16");
}

// The message, empty where the model is taken for complete.
std::string complaint(const Names& names, const json::Object& config) {
  MemorySource source;
  source.settings = config;
  fill(source, names);
  try {
    require_complete(source);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::input) << error.what();
    return error.what();
  }
  return {};
}

const Names kAttention = {"input_layernorm.weight",  "self_attn.q_proj.weight", "self_attn.k_proj.weight",
                          "self_attn.v_proj.weight", "self_attn.o_proj.weight", "post_attention_layernorm.weight"};
const Names kDense = {"mlp.gate_proj.weight", "mlp.up_proj.weight", "mlp.down_proj.weight"};
const Names kMamba = {"input_layernorm.weight", "mixer.in_proj.weight", "mixer.conv1d.weight", "mixer.A_log",
                      "mixer.out_proj.weight"};

Names moe(int experts) {
  Names names = {"mlp.gate.weight"};
  for (int e = 0; e < experts; ++e)
    for (const char* part : {"gate_proj", "up_proj", "down_proj"})
      names.insert(str("mlp.experts.", e, ".", part, ".weight"));
  return names;
}

void add_block(Names& names, const std::string& block, std::initializer_list<Names> parts) {
  for (const Names& part : parts)
    for (const std::string& name : part) names.insert(block + "." + name);
}

const Names kEnds = {"model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"};

// Blocks of one kind, or of each block its own.
Names model_of(const std::vector<std::vector<Names>>& blocks) {
  Names names = kEnds;
  for (size_t i = 0; i < blocks.size(); ++i)
    for (const Names& part : blocks[i]) add_block(names, str("model.layers.", i), {part});
  return names;
}

json::Object causal(size_t blocks, const char* more = "{}") {
  json::Object config = config_of(more);
  config["architectures"] = json::Array{"SomeForCausalLM"};
  config["num_hidden_layers"] = static_cast<int64_t>(blocks);
  config["tie_word_embeddings"] = false;
  return config;
}

TEST(Completeness, FindsEveryTensorThatOneOfEqualBlocksLacks) {
  for (const size_t blocks : {size_t{2}, size_t{3}, size_t{12}}) {
    const Names whole = model_of(std::vector<std::vector<Names>>(blocks, {kAttention, kDense}));
    ASSERT_EQ(complaint(whole, causal(blocks)), "");
    for (const std::string& name : whole) {
      Names less = whole;
      less.erase(name);
      EXPECT_TRUE(contains(complaint(less, causal(blocks)), "incomplete")) << blocks << " blocks without " << name;
    }
  }
}

TEST(Completeness, NamesWhatIsMissing) {
  const std::vector<std::vector<Names>> three(3, {kAttention, kDense});
  Names less = model_of(three);
  less.erase("model.layers.1.mlp.up_proj.weight");
  EXPECT_TRUE(contains(complaint(less, causal(3)), "'model.layers.1.mlp.up_proj'"));
  EXPECT_TRUE(contains(complaint(model_of(three), causal(4)), "counts 4 blocks, 'model.layers.3'"));
  less = model_of(three);
  std::erase_if(less, [](const std::string& name) { return name.starts_with("model.layers.1."); });
  EXPECT_TRUE(contains(complaint(less, causal(3)), "'model.layers.1'"));
  EXPECT_TRUE(contains(complaint(less, config_of("{}")), "'model.layers.1' is not stored")) << "nothing counts";
  less = model_of(three);
  less.erase("lm_head.weight");
  EXPECT_TRUE(contains(complaint(less, causal(3)), "lm_head"));
}

TEST(Completeness, FindsMissingExperts) {
  const Names whole = model_of({{kAttention, moe(4)}, {kAttention, moe(4)}});
  const json::Object config = causal(2, R"({"num_experts": 4})");
  ASSERT_EQ(complaint(whole, config), "");
  for (const std::string& name : whole) {
    Names less = whole;
    less.erase(name);
    EXPECT_NE(complaint(less, config), "") << name;
  }
  for (const int gone : {0, 2, 3}) {
    Names less = whole;
    std::erase_if(less, [&](const std::string& n) { return n.find(str("experts.", gone, ".")) != std::string::npos; });
    EXPECT_TRUE(contains(complaint(less, config), "experts")) << gone;
  }
}

// Of two kinds of blocks, one each, what they have in common tells.
TEST(Completeness, ComparesTheSamePartsOfDifferentBlocks) {
  const Names whole = model_of({{kAttention, kDense}, {kAttention, moe(3)}});
  ASSERT_EQ(complaint(whole, causal(2)), "");
  for (const std::string& part : kAttention)
    for (const char* block : {"model.layers.0.", "model.layers.1."}) {
      Names less = whole;
      ASSERT_EQ(less.erase(block + part), 1U);
      EXPECT_NE(complaint(less, causal(2)), "") << block << part;
    }
}

TEST(Completeness, AcceptsModelsWhoseBlocksDiffer) {
  const Names no_kv = {"input_layernorm.weight", "self_attn.q_proj.weight", "self_attn.o_proj.weight",
                       "post_attention_layernorm.weight"};
  const auto right = [](const char* what, const std::vector<std::vector<Names>>& blocks, const char* more = "{}") {
    EXPECT_EQ(complaint(model_of(blocks), causal(blocks.size(), more)), "") << what;
  };
  const std::vector<Names> dense = {kAttention, kDense}, sparse = {kAttention, moe(3)}, mamba = {kMamba, kDense};
  right("first blocks dense", {dense, sparse, sparse}, R"({"n_routed_experts": 3, "first_k_dense_replace": 1})");
  right("every second block has experts", {dense, sparse, dense, sparse}, R"({"num_experts": 3})");
  right("two kinds once each", {mamba, dense});
  right("hybrid", {mamba, mamba, dense, mamba, mamba, mamba}, R"({"layer_types": ["m", "m", "a", "m", "m", "m"]})");
  right("keys and values of an earlier block", {dense, dense, {no_kv, kDense}});
  right("blocks without a mixer", {dense, {kDense}, dense});
  right("kinds that config.json tells apart", {dense, {kAttention, kDense, {"self_attn.sinks.weight"}}, dense},
        R"({"layer_types": ["linear_attention", "full_attention", "linear_attention"]})");
}

TEST(Completeness, AcceptsWhatLiesBesideTheBlocks) {
  Names names = model_of({{kAttention, kDense}, {kAttention, kDense}});
  // A block for multi-token prediction behind the last one, a tower of its own, a stack with activations between.
  add_block(names, "model.layers.2",
            {kAttention, kDense, {"eh_proj.weight", "enorm.weight", "shared_head.norm.weight"}});
  for (int i = 0; i < 4; ++i) add_block(names, str("visual.blocks.", i), {{"norm1.weight", "attn.qkv.weight"}});
  for (const char* name : {"visual.merger.mlp.0.weight", "visual.merger.mlp.2.weight", "visual.merger.mlp.2.bias"})
    names.insert(name);
  EXPECT_EQ(complaint(names, causal(2)), "");
  // A list of which config.json counts the uses, not the blocks.
  Names shared = {"albert.embeddings.word_embeddings.weight",
                  "albert.encoder.albert_layer_groups.0.albert_layers.0.attention.query.weight"};
  EXPECT_EQ(complaint(shared, config_of(R"({"num_hidden_layers": 12})")), "");
  // A head of another kind, and a table that is the head.
  Names classifier = model_of({{kAttention, kDense}});
  classifier.erase("lm_head.weight");
  classifier.insert("score.weight");
  json::Object config = causal(1);
  config["architectures"] = json::Array{"SomeForSequenceClassification"};
  EXPECT_EQ(complaint(classifier, config), "");
  Names tied = model_of({{kAttention, kDense}});
  tied.erase("model.embed_tokens.weight");
  config = causal(1);
  config["tie_word_embeddings"] = true;
  EXPECT_EQ(complaint(tied, config), "");
}

TEST(Completeness, WantsAScaleForEveryEightBitFloat) {
  MemorySource bare;
  bare.memory.add("model.layers.0.mlp.up_proj.weight", at::zeros({2, 2}).to(at::kFloat8_e4m3fn), "F8_E4M3");
  EXPECT_TRUE(contains(testing::refusal(ErrorCode::input, [&] { require_complete(bare); }), "has no scale"));
  MemorySource whole;
  whole.memory.add("model.layers.0.mlp.up_proj.weight", at::zeros({2, 2}, at::kChar), "I8");
  EXPECT_TRUE(contains(testing::refusal(ErrorCode::input, [&] { require_complete(whole); }), "has no scale"));
  MemorySource orphan;
  orphan.memory.add("model.layers.0.mlp.up_proj.weight_scale_inv", at::zeros({1, 1}), "F32");
  EXPECT_TRUE(contains(testing::refusal(ErrorCode::input, [&] { require_complete(orphan); }), "weight_scale_inv"));
  MemorySource packed;
  packed.memory.add("model.layers.0.mlp.up_proj.qzeros", at::zeros({1, 1}, at::kInt), "I32");
  EXPECT_TRUE(contains(testing::refusal(ErrorCode::input, [&] { require_complete(packed); }), "has no weight"));
}

// On the way of a run: no route takes an incomplete source.
TEST(Completeness, EveryRouteChecks) {
  const testing::TemporaryFolder folder;
  const std::filesystem::path model = folder.path() / "model";
  std::filesystem::copy(testing::tiny_model("source-llama-bf16"), model);
  json::Object config = json::read_file(model / "config.json").as_object();
  config["num_hidden_layers"] = 3;
  std::filesystem::permissions(model / "config.json", std::filesystem::perms::owner_all);
  std::ofstream(model / "config.json") << json::dump(config);
  Reporter silent;
  for (const bool model_free : {true, false}) {
    QuantizeOptions options;
    options.model = model.string();
    options.output_dir = folder.path() / "out";
    options.recipe = "rtn";
    options.model_free = model_free;
    const std::string message =
        testing::refusal(ErrorCode::input, [&] { (void)quantize(options, testing::registry(), silent); });
    EXPECT_TRUE(contains(message, "model.layers.2")) << message;
  }
}

// What nobody would read, and what might be meant instead of what is read.

const std::vector<std::vector<Names>> kThreeBlocks(3, {kAttention, kDense});

Names prefixed(const Names& names, const std::string& prefix) {
  Names out;
  for (const std::string& name : names) out.insert(prefix + name);
  return out;
}

TEST(ForeignTensors, TwoNamesOfOnePlaceAreRefused) {
  const Names whole = model_of(kThreeBlocks);
  for (const char* prefix : {"language_model.", "model.language_model.", "transformer.", "teacher."}) {
    Names twice = whole;
    twice.merge(prefixed(whole, prefix));
    const std::string message = complaint(twice, causal(3));
    EXPECT_TRUE(contains(message, "two sets of weights")) << prefix << message;
    EXPECT_TRUE(contains(message, prefix)) << message;
  }
  Names one = whole;
  one.insert("language_model.model.layers.1.mlp.up_proj.weight");
  EXPECT_TRUE(contains(complaint(one, causal(3)), "'language_model.model.layers.1.mlp.up_proj.weight'"));
  // Towers and blocks for multi-token prediction have parts of the same names, and are others.
  Names towers = whole;
  add_block(towers, "vision_model.layers.0", {kAttention, kDense});
  add_block(towers, "mtp.layers.0", {kAttention, kDense});
  EXPECT_EQ(complaint(towers, causal(3)), "");
  EXPECT_EQ(complaint(prefixed(whole, "language_model."), causal(3)), "") << "once is no second time";
}

TEST(ForeignTensors, BlocksBehindTheLastAreRefused) {
  std::string message = complaint(model_of(kThreeBlocks), causal(2));
  EXPECT_TRUE(contains(message, "'model.layers.2' lies behind the last of the 2 blocks")) << message;
  EXPECT_TRUE(contains(message, "--num_hidden_layers 2")) << message;
  message = complaint(model_of(kThreeBlocks), causal(1));
  EXPECT_TRUE(contains(message, "'model.layers.1' to 'model.layers.2'")) << message;
  Names part = model_of(kThreeBlocks);
  part.insert("model.layers.3.self_attn.q_proj.weight");
  EXPECT_TRUE(contains(complaint(part, causal(3)), "'model.layers.3'"));
  // Counted apart, or of another kind, or of which of two lists nobody knows.
  EXPECT_EQ(complaint(model_of(kThreeBlocks), causal(2, R"({"num_nextn_predict_layers": 1})")), "");
  EXPECT_NE(complaint(model_of(kThreeBlocks), causal(1, R"({"num_nextn_predict_layers": 1})")), "");
  EXPECT_EQ(complaint(model_of(kThreeBlocks), causal(2, R"({"is_encoder_decoder": true})")), "");
}

TEST(ForeignTensors, AdaptersAndWrappersAreRefused) {
  const Names whole = model_of(kThreeBlocks);
  for (const char* part : {"lora_A.weight", "lora_B.default.weight", "lora_embedding_A", "lora_magnitude_vector.weight",
                           "base_layer.weight", "ia3_l", "hada_w1_a"}) {
    Names more = whole;
    more.insert(str("model.layers.0.self_attn.q_proj.", part));
    const std::string message = complaint(more, causal(3));
    EXPECT_TRUE(contains(message, "adapter")) << part << message;
    EXPECT_TRUE(contains(message, part)) << message;
    EXPECT_TRUE(contains(message, "merge")) << message;
    // Models with adapters in their architecture say so.
    EXPECT_EQ(complaint(more, causal(3, R"({"speech_lora": {"r": 8}})")), "") << part;
  }
  for (const char* wrapper : {"base_model.model.", "_orig_mod.", "module."})
    EXPECT_TRUE(contains(complaint(prefixed(whole, wrapper), causal(3)), "wrapper")) << wrapper;
}

// With fewer blocks counted than stored no route goes on by itself; cut to that number both do, and agree.
TEST(ForeignTensors, EveryRouteTakesTheBlocksThatAreAskedFor) {
  const testing::TemporaryFolder folder;
  testing::Checkpoint checkpoint = testing::tiny_checkpoint("source-llama-bf16");
  checkpoint.config["num_hidden_layers"] = 1;
  QuantizeOptions options;
  options.model = checkpoint.write(folder.path() / "model");
  options.recipe = "rtn";
  Reporter silent;
  for (const bool model_free : {true, false}) {
    options.model_free = model_free;
    options.output_dir = folder.path() / (model_free ? "free" : "family");
    options.num_hidden_layers.reset();
    const std::string message =
        testing::refusal(ErrorCode::input, [&] { (void)quantize(options, testing::registry(), silent); });
    EXPECT_TRUE(contains(message, "'model.layers.1'")) << message;
    options.num_hidden_layers = 1;
    (void)quantize(options, testing::registry(), silent);
    const auto weights = open_safetensors(options.output_dir);
    for (const TensorInfo& tensor : weights->tensors()) EXPECT_FALSE(contains(tensor.name, "layers.1.")) << tensor.name;
    const json::Object report =
        verify({.directory = options.output_dir, .against = options.model}, testing::registry(), silent);
    EXPECT_TRUE(report.at("passed").as_bool()) << json::dump(report.at("checks"), 2);
  }
}

}  // namespace
}  // namespace arkit
