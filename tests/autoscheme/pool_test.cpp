// Options, pool and groups for the two-block llama of the golden exports (hidden 128, untied head).
#include <algorithm>

#include <arkit/model_adapter.h>
#include <arkit/model_source.h>
#include <arkit/sdk/layer_rules.h>

#include "autoscheme/groups.h"
#include "autoscheme/options.h"
#include "autoscheme/pool.h"
#include "jobs/job_testing.h"
#include "quant/plan.h"

namespace arkit::auto_scheme {
namespace {

using arkit::testing::contains;
using arkit::testing::Recorder;
using arkit::testing::refusal;
using arkit::testing::registry;

class PoolTest : public ::testing::Test {
 protected:
  std::vector<SchemeOption> resolve(std::vector<std::string> names) {
    options_.auto_scheme.options = std::move(names);
    return resolve_options(options_, registry(), recorder_);
  }
  static std::vector<std::string> names(const std::vector<SchemeOption>& options) {
    std::vector<std::string> out;
    for (const SchemeOption& option : options) out.push_back(option.name);
    return out;
  }
  Pool make(const std::vector<SchemeOption>& options) {
    const SchemeOption& base = base_option(options);
    const QuantPlan plan = build_plan(layout_, {base.name, base.quant, std::nullopt}, options_, registry(), recorder_);
    return make_pool(layout_, plan, options, options_.quant_lm_head,
                     [&](const LayerPlan& layer) { return fits_shape(layer, options_.on_indivisible, registry()); });
  }
  static std::vector<std::vector<std::string>> named(const Pool& pool, const std::vector<std::vector<size_t>>& groups) {
    std::vector<std::vector<std::string>> out;
    for (const auto& group : groups) {
      out.emplace_back();
      for (const size_t i : group) out.back().push_back(pool.layers[i].plan.name);
    }
    return out;
  }

  QuantizeOptions options_;
  Recorder recorder_;
  std::unique_ptr<ModelSource> source_ = open_source(testing::tiny_model("source-llama-bf16"), registry());
  ModelLayout layout_ = layout_of(*source_, registry());
};

TEST_F(PoolTest, OptionsAreNamesOrFields) {
  const auto options =
      resolve({"w4a16, W8A16", "{scheme:W4A16,group_size:32}", "{\"bits\":3,\"group_size\":64}", "BF16"});
  EXPECT_EQ(names(options), (std::vector<std::string>{"W4A16", "W8A16", "int4 g32 sym", "int3 g64 sym", "BF16"}));
  EXPECT_EQ(options[2].quant.weight.group_size, 32);
  EXPECT_EQ(&base_option(options), &options[0]);
}

TEST_F(PoolTest, OverridesApplyToEachOptionButBitsDoNot) {
  options_.overrides.group_size = 64;
  options_.overrides.bits = 3;
  const auto options = resolve({"W2A16,W4A16"});
  EXPECT_EQ(options[0].quant.weight.bits, 2);
  EXPECT_EQ(options[1].quant.weight.group_size, 64);
}

TEST_F(PoolTest, EightBitIntegersStaySymmetricWhereFormatsNeedIt) {
  options_.overrides.sym = false;
  const auto options = resolve({"W4A16,W8A16"});
  EXPECT_FALSE(options[0].quant.weight.sym);
  EXPECT_TRUE(options[1].quant.weight.sym);
  EXPECT_EQ(recorder_.warnings.size(), 1U);
  options_.formats = {"llm_compressor"};
  EXPECT_FALSE(resolve({"W4A16,W8A16"})[1].quant.weight.sym);
}

TEST_F(PoolTest, SameSchemesAreTakenOnceAndBadOnesRefused) {
  EXPECT_EQ(names(resolve({"W4A16", "w4a16", "{scheme:W4A16}", "W8A16"})),
            (std::vector<std::string>{"W4A16", "W8A16"}));
  (void)refusal(ErrorCode::usage, [&] { (void)resolve({" , "}); });
  (void)refusal(ErrorCode::usage, [&] { (void)resolve({"BF16"}); });
  EXPECT_TRUE(contains(refusal(ErrorCode::unsupported, [&] { (void)resolve({"W4A61"}); }), "did you mean 'W4A16'"));
  EXPECT_TRUE(contains(refusal(ErrorCode::usage, [&] { (void)resolve({"W4A16_MIXED,W8A16"}); }), "W4A16_MIXED"));
  EXPECT_EQ(split_options("a,{b:1,c:2} , d"), (std::vector<std::string>{"a", "{b:1,c:2}", "d"}));
}

TEST_F(PoolTest, HoldsTheLayersOfBlocksAndCountsPinnedOnes) {
  options_.layer_config = R"({"model.layers.0.mlp.down_proj": {"bits": 8}})";
  options_.ignore_layers = {"model.layers.1.self_attn.o_proj"};
  const Pool pool = make(resolve({"W2A16,W4A16,BF16"}));
  EXPECT_EQ(pool.layers.size(), 12U);
  ASSERT_EQ(pool.pinned.size(), 2U);
  EXPECT_EQ(pool.pinned[0].quant.weight.bits, 8);
  EXPECT_FALSE(pool.pinned[1].quantized());
  for (const auto& offered : pool.offered) EXPECT_EQ(offered, (std::vector<bool>{true, true, true}));
  for (const PoolLayer& layer : pool.layers) {
    EXPECT_EQ(layer.quants[1].weight.bits, 4);
    EXPECT_FALSE(layer.quants[2].quantized());
  }
}

TEST_F(PoolTest, TheHeadTakesPartOnRequestAndCountsWhenNamed) {
  options_.quant_lm_head = true;
  EXPECT_EQ(make(resolve({"W4A16,W8A16"})).layers.back().plan.name, "lm_head");
  options_.quant_lm_head = false;
  EXPECT_TRUE(make(resolve({"W4A16,W8A16"})).pinned.empty());
  options_.layer_config = R"({"lm_head": "W8A16"})";
  const Pool pool = make(resolve({"W4A16,W8A16"}));
  ASSERT_EQ(pool.pinned.size(), 1U);
  EXPECT_EQ(pool.pinned[0].name, "lm_head");
}

TEST_F(PoolTest, AnOptionAShapeForbidsIsNotOffered) {
  options_.on_indivisible = "skip";
  const Pool pool = make(resolve({"W4A16", "{scheme:W4A16,group_size:96}", "{scheme:W4A16,group_size:256}"}));
  ASSERT_EQ(pool.layers.size(), 14U);
  for (size_t i = 0; i < pool.layers.size(); ++i) {
    EXPECT_TRUE(pool.offered[i][0]);
    EXPECT_FALSE(pool.offered[i][1]) << "96 divides neither 128 nor 256";
    EXPECT_FALSE(pool.layers[i].quants[1].quantized());
    EXPECT_TRUE(pool.offered[i][2]);
  }
}

TEST_F(PoolTest, LayersNoOptionFitsArePinnedWithTheReason) {
  options_.on_indivisible = "skip";
  const Pool pool = make(resolve({"{scheme:W4A16,group_size:96}", "{scheme:W8A16,group_size:96}"}));
  EXPECT_TRUE(pool.layers.empty());
  EXPECT_EQ(pool.pinned.size(), 14U);
  ASSERT_EQ(pool.refused.size(), 14U);
  EXPECT_TRUE(contains(pool.refused[0].reason, "not divisible by group_size 96"));
}

TEST_F(PoolTest, FusedLayersShareByDefault) {
  const Pool pool = make(resolve({"W4A16,W8A16"}));
  const auto groups = share_layers(pool, {}, recorder_);
  EXPECT_EQ(groups.size(), 8U);  // qkv, o, gate/up, down of two blocks
  EXPECT_EQ(named(pool, groups)[0],
            (std::vector<std::string>{"model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.k_proj",
                                      "model.layers.0.self_attn.v_proj"}));
  EXPECT_EQ(share_layers(pool, {.share_fused_layers = false}, recorder_).size(), 14U);
}

TEST_F(PoolTest, SharedLayersMatchBlockByBlockAndMerge) {
  const Pool pool = make(resolve({"W4A16,W8A16"}));
  const auto without = [&](std::vector<std::vector<std::string>> asked) {
    return named(pool, share_layers(pool, {.shared_layers = std::move(asked), .share_fused_layers = false}, recorder_));
  };
  auto groups = without({{"q_proj", "o_proj"}, {"o_proj", "down_proj"}});
  EXPECT_EQ(groups.size(), 10U);
  EXPECT_EQ(groups[0], (std::vector<std::string>{"model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.o_proj",
                                                 "model.layers.0.mlp.down_proj"}))
      << "a common member makes two groups one, within a block";
  groups = without({{"model.layers.0.mlp.up_proj", "model.layers.1.mlp.up_proj"}});
  EXPECT_EQ(groups.size(), 13U) << "names alone: the group as it is";
  groups = without({{"model.layers.0.mlp.up_proj", "gate_proj"}});
  EXPECT_EQ(groups.size(), 12U) << "an exact name belongs to every block's group and joins them";
  groups = without({{"mlp\\.(up|gate)_proj$"}});
  EXPECT_EQ(groups.size(), 12U);
  EXPECT_TRUE(
      contains(refusal(ErrorCode::usage, [&] { (void)without({{"*.k_proj"}}); }), "'*.k_proj' matches no layer"))
      << "not a regular expression, and no part of a name";
}

TEST_F(PoolTest, PinnedMembersAreLeftOutOfTheirGroup) {
  options_.layer_config = R"({"model.layers.0.self_attn.k_proj": {"bits": 8}})";
  const Pool pool = make(resolve({"W4A16,W8A16"}));
  const auto groups = share_layers(pool, {.shared_layers = {{"k_proj", "v_proj"}}}, recorder_);
  EXPECT_EQ(named(pool, groups)[0],
            (std::vector<std::string>{"model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.v_proj"}));
}

TEST_F(PoolTest, ExpertsOfABlockAreOneGroup) {
  Pool pool;
  for (const char* name : {"m.layers.0.mlp.experts.0.gate_proj", "m.layers.0.mlp.experts.0.down_proj",
                           "m.layers.0.mlp.experts.1.gate_proj", "m.layers.1.mlp.experts.0.gate_proj"}) {
    PoolLayer layer;
    layer.plan.name = name;
    layer.plan.block = name[9] - '0';
    model_free::guess_layer(layer.plan);
    layer.quants.resize(1);
    pool.layers.push_back(layer);
    pool.offered.push_back({true});
  }
  EXPECT_EQ(share_layers(pool, {}, recorder_), (std::vector<std::vector<size_t>>{{0, 1, 2}, {3}}));
  pool.offered = {{true, false}, {false, true}, {true, true}, {true, true}};
  recorder_.warnings.clear();
  EXPECT_EQ(share_layers(pool, {}, recorder_).size(), 4U) << "no common option: each alone";
  EXPECT_EQ(recorder_.warnings.size(), 1U);
}

}  // namespace
}  // namespace arkit::auto_scheme
