#include "quant/plan.h"

#include <algorithm>

#include <arkit/model_adapter.h>
#include <arkit/model_source.h>

#include "jobs/job_testing.h"

namespace arkit {
namespace {

using testing::contains;
using testing::Recorder;
using testing::refusal;
using testing::registry;

// Plans for the two-block llama of the golden exports (hidden 128, untied head).
class Plan : public ::testing::Test {
 protected:
  QuantPlan make() {
    QuantPlan plan = build_plan(layout_, resolve_preset(scheme_, registry()), options_, registry(), recorder_);
    for (const std::string& warning : plan_warnings(plan)) recorder_.warn(warning);
    for (const std::string& warning : shape_warnings(plan)) recorder_.warn(warning);
    return plan;
  }
  static std::string scheme_of(const QuantPlan& plan, const std::string& layer) {
    return describe(plan.find(layer)->quant);
  }

  std::string scheme_ = "W4A16";
  QuantizeOptions options_;
  Recorder recorder_;
  std::unique_ptr<ModelSource> source_ = open_source(testing::tiny_model("source-llama-bf16"), registry());
  ModelLayout layout_ = layout_of(*source_, registry());
};

TEST_F(Plan, EveryLinearOfEveryBlockAndNotTheHead) {
  const QuantPlan plan = make();
  EXPECT_EQ(quantized_count(plan), 14);
  EXPECT_EQ(scheme_of(plan, "model.layers.1.mlp.down_proj"), "int4 g128 sym");
  EXPECT_EQ(scheme_of(plan, "lm_head"), "16-bit");
  EXPECT_EQ(plan.block_lists, std::vector<std::string>{"model.layers"});
}

TEST_F(Plan, ExactNamesBeatPatternsAndTheLaterPatternWins) {
  options_.layer_config =
      R"({"down_proj": {"bits": 8}, "layers.1": {"bits": 3}, "model.layers.0.mlp.down_proj": {"bits": 2}})";
  const QuantPlan plan = make();
  EXPECT_EQ(plan.find("model.layers.0.mlp.down_proj")->quant.weight.bits, 2);
  EXPECT_EQ(plan.find("model.layers.1.mlp.down_proj")->quant.weight.bits, 3);
  EXPECT_EQ(plan.find("model.layers.0.mlp.up_proj")->quant.weight.bits, 4);
  EXPECT_EQ(plan.find("model.layers.0.mlp.down_proj")->reason, "layer_config 'model.layers.0.mlp.down_proj'");
}

TEST_F(Plan, OnlyTheNamedBlocksAreQuantized) {
  options_.to_quant_block_names = {"model.layers.1"};
  QuantPlan plan = make();
  EXPECT_EQ(quantized_count(plan), 7);
  EXPECT_EQ(plan.find("model.layers.0.mlp.up_proj")->reason, "its block is not among to_quant_block_names");
  EXPECT_EQ(plan.block_lists, std::vector<std::string>{"model.layers"});
  options_.to_quant_block_names = {"model.layers"};
  EXPECT_EQ(quantized_count(make()), 14);
  options_.to_quant_block_names = {"model.layer"};
  EXPECT_TRUE(contains(refusal(ErrorCode::usage, [&] { (void)make(); }), "'model.layer' matches no layer"));
}

TEST_F(Plan, ChoicesAreWeakerThanLayerConfigAndSayWhy) {
  LayerQuant eight = resolve_preset("W8A16", registry()).quant;
  const LayerChoices choices{{"model.layers.0.mlp.up_proj", {eight, "autoscheme: W8A16"}},
                             {"model.layers.0.mlp.gate_proj", {eight, "autoscheme: W8A16"}}};
  options_.layer_config = R"({"gate_proj": {"bits": 3}})";
  const QuantPlan plan =
      build_plan(layout_, resolve_preset(scheme_, registry()), options_, registry(), recorder_, &choices);
  EXPECT_EQ(plan.find("model.layers.0.mlp.up_proj")->quant.weight.bits, 8);
  EXPECT_EQ(plan.find("model.layers.0.mlp.up_proj")->reason, "autoscheme: W8A16");
  EXPECT_EQ(plan.find("model.layers.0.mlp.gate_proj")->quant.weight.bits, 3);
  EXPECT_EQ(plan.find("model.layers.1.mlp.up_proj")->quant.weight.bits, 4);
}

TEST_F(Plan, IgnoreWinsOverLayerConfigAndKnowsWholeNumbers) {
  options_.layer_config = R"({"k_proj": {"bits": 8}})";
  options_.ignore_layers = {"layers.1"};
  const QuantPlan plan = make();
  EXPECT_EQ(scheme_of(plan, "model.layers.1.self_attn.k_proj"), "16-bit");
  EXPECT_EQ(plan.find("model.layers.0.self_attn.k_proj")->quant.weight.bits, 8);
  options_.ignore_layers = {"layer.1"};
  EXPECT_TRUE(contains(refusal(ErrorCode::usage, [&] { (void)make(); }), "'layer.1' matches no layer"));
  options_.allow_unmatched = true;
  recorder_.warnings.clear();
  (void)make();
  EXPECT_EQ(std::count_if(recorder_.warnings.begin(), recorder_.warnings.end(),
                          [](const std::string& w) { return contains(w, "'layer.1' matches no layer"); }),
            1);
}

TEST_F(Plan, TheHeadIsQuantizedOnRequestOnly) {
  options_.quant_lm_head = true;
  EXPECT_EQ(scheme_of(make(), "lm_head"), "int4 g128 sym");
  options_.quant_lm_head = false;
  options_.layer_config = R"({"lm_head": {"bits": 8}})";
  EXPECT_EQ(scheme_of(make(), "lm_head"), "int8 g128 sym");
}

TEST_F(Plan, ATiedHeadStaysWithItsEmbedding) {
  const auto source = open_source(testing::tiny_model("source-qwen3-bf16"), registry());
  const ModelLayout layout = layout_of(*source, registry());
  options_.quant_lm_head = true;
  const QuantPlan plan = build_plan(layout, resolve_preset("W4A16", registry()), options_, registry(), recorder_);
  for (const LayerPlan& layer : plan.layers) EXPECT_EQ(layer.quantized(), layer.block >= 0) << layer.name;
  EXPECT_EQ(recorder_.warnings.size(), 1U);
}

TEST_F(Plan, IndivisibleGroupsFollowThePolicy) {
  options_.overrides.group_size = 48;  // neither 128 nor 256 is a multiple
  const QuantPlan padded = make();
  EXPECT_EQ(quantized_count(padded), 14);
  EXPECT_EQ(recorder_.warnings.size(), 1U);
  options_.on_indivisible = "skip";
  EXPECT_EQ(quantized_count(make()), 0);
  options_.on_indivisible = "error";
  EXPECT_TRUE(contains(refusal(ErrorCode::unsupported, [&] { (void)make(); }), "not divisible by group_size 48"));
  options_.on_indivisible = "round";
  (void)refusal(ErrorCode::usage, [&] { (void)make(); });
}

TEST_F(Plan, FusedLayersWithDifferentSchemesAreWarnedAboutOnce) {
  EXPECT_TRUE(plan_warnings(make()).empty());
  options_.layer_config = R"({"k_proj": {"bits": 8}, "down_proj": {"bits": 8}})";
  options_.ignore_layers = {"model.layers.1.mlp.up_proj"};
  const std::vector<std::string> warnings = plan_warnings(make());
  EXPECT_EQ(recorder_.warnings, warnings) << "build_plan passes them on";
  ASSERT_EQ(warnings.size(), 2U) << "one a cause; down_proj is fused with nothing";
  EXPECT_TRUE(contains(warnings[0], "1 group of layers (first 'model.layers.1.mlp.")) << warnings[0];
  EXPECT_TRUE(contains(warnings[0], "gate_proj int4 g128 sym, up_proj 16-bit")) << warnings[0];
  EXPECT_TRUE(contains(warnings[1], "2 groups of layers (first 'model.layers.0.self_attn.")) << warnings[1];
  EXPECT_TRUE(contains(warnings[1], "q_proj int4 g128 sym, k_proj int8 g128 sym, v_proj int4 g128 sym")) << warnings[1];
}

TEST_F(Plan, NamesAreSuggested) {
  scheme_ = "W4A61";
  EXPECT_TRUE(contains(refusal(ErrorCode::unsupported, [&] { (void)make(); }), "did you mean 'W4A16'"));
  scheme_ = "W4A16";
  options_.overrides.data_type = "imt";
  (void)refusal(ErrorCode::unsupported, [&] { (void)make(); });
}

}  // namespace
}  // namespace arkit
