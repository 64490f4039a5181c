// What the reference recorded for other settings than the golden exports have, taken from runs of auto-round 0.16.1.

#include <gtest/gtest.h>

#include <arkit/sdk/quant_config.h>

namespace arkit::sdk {
namespace {

LayerPlan layer(const std::string& name, int64_t block, const LayerQuant& quant) {
  LayerPlan plan{.name = name, .out_features = 128, .in_features = 128};
  plan.block = block;
  plan.quant = quant;
  return plan;
}

QuantPlan tiny_plan() {
  QuantPlan plan;
  plan.global.weight = {.bits = 4, .group_size = 128};
  plan.block_lists = {"model.layers"};
  plan.num_blocks = 2;
  for (int64_t block = 0; block < 2; ++block)
    for (const char* name : {".self_attn.q_proj", ".self_attn.k_proj", ".mlp.up_proj"})
      plan.layers.push_back(layer("model.layers." + std::to_string(block) + name, block, plan.global));
  return plan;
}

LayerQuant full_precision(const LayerQuant& global, const char* data_type) {
  LayerQuant quant = global;
  quant.weight.bits = 16;
  quant.weight.data_type = data_type;
  return quant;
}

json::Value parsed(const char* text) {
  return json::parse(text, "expected");
}

TEST(QuantConfig, RecordsTuningThatDiffersFromTheDefaults) {
  RunRecord run{.iters = 2, .nsamples = 4, .seqlen = 32, .batch_size = 2, .gradient_accumulate_steps = 2, .lr = 0.01};
  EXPECT_EQ(json::Value(base_quantization_config(tiny_plan(), run)),
            parsed(R"({"bits": 4, "data_type": "int", "group_size": 128, "sym": true, "gradient_accumulate_steps": 2,
                       "iters": 2, "lr": 0.01, "minmax_lr": 0.01, "autoround_version": "0.16.1"})"));
  run = {.iters = 1, .enable_minmax_tuning = false, .enable_quanted_input = false};
  EXPECT_EQ(json::Value(base_quantization_config(tiny_plan(), run)),
            parsed(R"({"bits": 4, "data_type": "int", "group_size": 128, "sym": true, "enable_minmax_tuning": false,
                       "enable_quanted_input": false, "iters": 1, "autoround_version": "0.16.1"})"));
  run = {.iters = 200};
  EXPECT_EQ(
      json::Value(base_quantization_config(tiny_plan(), run)),
      parsed(R"({"bits": 4, "data_type": "int", "group_size": 128, "sym": true, "autoround_version": "0.16.1"})"));
}

TEST(QuantConfig, RecordsIgnoredLayersByNameAndPattern) {
  QuantPlan plan = tiny_plan();
  const LayerQuant kept = full_precision(plan.global, "float");
  for (const size_t i : {1U, 4U, 5U}) plan.layers[i].quant = kept;
  plan.rules = {{.pattern = "k_proj", .regex = ".*k_proj.*", .quant = kept, .ignore = true},
                {.pattern = "model.layers.1.mlp.up_proj",
                 .regex = ".*model\\.layers\\.1\\.mlp\\.up_proj.*",
                 .quant = kept,
                 .ignore = true}};
  EXPECT_EQ(json::Value(extra_config(plan)), parsed(R"({
    "model.layers.0.self_attn.k_proj": {"bits": 16, "data_type": "float"},
    "model.layers.1.self_attn.k_proj": {"bits": 16, "data_type": "float"},
    "model.layers.1.mlp.up_proj": {"bits": 16, "data_type": "float"},
    ".*k_proj.*": {"bits": 16, "data_type": "float"}})"));
}

// A pattern that says 16 bits would take a layer that keeps the global scheme along; naming the layer stops that.
TEST(QuantConfig, NamesLayersAPatternWouldTakeAlong) {
  QuantPlan plan = tiny_plan();
  const LayerQuant kept = full_precision(plan.global, "int");
  plan.rules = {{.pattern = "k_proj", .regex = ".*k_proj.*", .quant = kept}};
  plan.layers[1].quant = kept;
  const json::Object extra = extra_config(plan);
  EXPECT_EQ(extra.at("model.layers.1.self_attn.k_proj"), parsed(R"({"bits": 4})"));
  EXPECT_EQ(extra.at("model.layers.0.self_attn.k_proj"), parsed(R"({"bits": 16})"));
  EXPECT_FALSE(extra.contains("model.layers.0.self_attn.q_proj"));
}

TEST(QuantConfig, ShapeRefusedLayersSayFp) {
  QuantPlan plan = tiny_plan();
  plan.layers[2].quant = full_precision(plan.global, "fp");
  EXPECT_EQ(json::Value(extra_config(plan)),
            parsed(R"({"model.layers.0.mlp.up_proj": {"bits": 16, "data_type": "fp"}})"));
}

TEST(QuantConfig, ActivationsAppearOnlyWhenQuantized) {
  QuantPlan plan = tiny_plan();
  plan.global.weight = {.data_type = "mx_fp", .bits = 4, .group_size = 32};
  plan.global.act = {.data_type = "mx_fp", .bits = 4, .group_size = 32};
  for (LayerPlan& entry : plan.layers) entry.quant = plan.global;
  plan.layers[0].quant.weight.bits = 8;
  plan.layers[0].quant.act.bits = 8;
  EXPECT_EQ(json::Value(base_quantization_config(plan, RunRecord{})),
            parsed(R"({"bits": 4, "act_bits": 4, "data_type": "mx_fp", "act_data_type": "mx_fp", "group_size": 32,
                       "act_group_size": 32, "sym": true, "act_sym": true, "act_dynamic": true,
                       "enable_quanted_input": false, "autoround_version": "0.16.1"})"));
  EXPECT_EQ(json::Value(extra_config(plan)),
            parsed(R"({"model.layers.0.self_attn.q_proj": {"bits": 8, "act_bits": 8}})"));
}

}  // namespace
}  // namespace arkit::sdk
