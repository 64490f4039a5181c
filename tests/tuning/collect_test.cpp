#include "tuning/collect.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/error.h>
#include <arkit/sdk/forward_context.h>

#include "tuning/aten_int_scheme.h"
#include "tuning/attention_ranges.h"
#include "tuning/vectors.h"

namespace arkit::test {
namespace {

Linear random_linear(const char* name, int64_t out, int64_t in) {
  Linear linear{.name = name, .out_features = out, .in_features = in};
  linear.weight = at::randn({out, in});
  return linear;
}

TEST(StatisticsHook, SumsSquaresAndKeepsTheLargestMagnitude) {
  at::manual_seed(5);
  const Linear q = random_linear("q", 4, 8), k = random_linear("k", 4, 8), other = random_linear("o", 4, 8);
  StatisticsHook hook;
  hook.watch(&q, {.imatrix = true, .act_max = true});
  hook.watch(&k, {.imatrix = true});
  at::Tensor expected = at::zeros({8});
  float largest = 0.0F;
  for (int i = 0; i < 3; ++i) {
    const at::Tensor x = at::randn({2, 100, 8});
    EXPECT_TRUE(all_close(hook.linear(q, x), at::linear(x, q.weight), 1e-5));
    (void)hook.linear(k, x);
    (void)hook.linear(other, x);
    expected += x.square().sum(at::IntArrayRef{0, 1});
    largest = std::max(largest, x.abs().max().item<float>());
  }
  const InputStatistics seen = hook.of(&q);
  EXPECT_TRUE(all_close(seen.imatrix / expected, at::ones({8}), 1e-5));
  EXPECT_TRUE(at::equal(hook.of(&k).imatrix, seen.imatrix));
  EXPECT_EQ(seen.count, 6);
  EXPECT_EQ(seen.act_max.item<float>(), largest);
  EXPECT_FALSE(hook.of(&k).act_max.defined());
  EXPECT_FALSE(hook.of(&other).imatrix.defined());
}

TEST(StatisticsHook, AnExpertWithoutTokensHasNoStatistics) {
  const Linear expert = random_linear("experts.0.up_proj", 4, 8);
  StatisticsHook hook;
  hook.watch(&expert, {.imatrix = true, .act_max = true});
  (void)hook.linear(expert, at::empty({0, 8}));
  EXPECT_FALSE(hook.of(&expert).imatrix.defined());
  (void)hook.linear(expert, at::ones({5, 8}));
  EXPECT_EQ(hook.of(&expert).count, 5);  // tokens, where samples are not kept apart
}

TEST(StatisticsHook, TakesBFloat16) {
  const Linear layer = random_linear("q", 4, 8);
  Linear half = layer;
  half.weight = layer.weight.to(at::kBFloat16);
  StatisticsHook hook;
  hook.watch(&half, {.imatrix = true});
  const at::Tensor x = at::randn({3, 8}).to(at::kBFloat16);
  (void)hook.linear(half, x);
  EXPECT_TRUE(all_close(hook.of(&half).imatrix, x.to(at::kFloat).square().sum(0), 1e-4));
}

// [batch, heads, positions, head_dim]: extremes of all batches, or their moving averages; one number or one a head.
TEST(AttentionRangeCollector, SumsUpBatches) {
  const at::Tensor first = at::tensor({1.0F, -4.0F, 2.0F, 3.0F}).view({1, 2, 1, 2});
  const at::Tensor second = at::tensor({-8.0F, 1.0F, 0.5F, 1.0F}).view({1, 2, 1, 2});
  const auto collect = [&](AttentionQuant quant) {
    quant.kv.bits = 8;
    DenseHook dense;
    AttentionRangeCollector collector(dense, quant);
    for (const at::Tensor& batch : {first, second}) {
      collector.see("attention", AttentionState::key, batch);
      collector.see("attention", AttentionState::query, batch);
    }
    const std::vector<AttentionRanges> all = collector.result();
    EXPECT_EQ(all.size(), 1U);
    EXPECT_EQ(all[0].module, "attention");
    EXPECT_FALSE(all[0].query.defined()) << "not asked for";
    EXPECT_FALSE(all[0].value.defined()) << "not seen";
    return all[0].key;
  };
  EXPECT_TRUE(at::equal(collect({}), at::tensor({8.0F})));
  EXPECT_TRUE(at::equal(collect({.kv_per_head = true}), at::tensor({8.0F, 3.0F})));
  // minimum -4 * 0.99 - 8 * 0.01 beside maximum 3 * 0.99 + 1 * 0.01
  EXPECT_TRUE(all_close(collect({.averaging = 0.01}), at::tensor({4.04F}), 1e-6));
  EXPECT_TRUE(all_close(collect({.kv_per_head = true, .averaging = 0.5}), at::tensor({6.0F, 2.0F}), 1e-6));
}

// What it sees is what dense attention computes with; what it serves are numbers of eight bits, or what it saw.
void sees_what_attention_computes_with(double softcap) {
  at::manual_seed(8);
  const at::Tensor query = at::randn({2, 4, 5, 8}), key = at::randn({2, 2, 5, 8}), value = at::randn({2, 2, 5, 8});
  const ForwardContext forward = sdk::forward_context(2, 5, {}, {}, {});
  const auto attend = [&](BlockHook& hook, const at::Tensor& k, const at::Tensor& v) {
    return hook.attention({.module = "m",
                           .forward = forward,
                           .query = query,
                           .key = k,
                           .value = v,
                           .scale = 0.3,
                           .window = 3,
                           .softcap = softcap});
  };
  DenseHook dense;
  const at::Tensor exact = attend(dense, key, value);
  const auto calibrate = [&](const AttentionQuant& quant, const at::Tensor& expected) {
    AttentionRangeCollector collector(dense, quant);
    EXPECT_TRUE(attend(collector, key, value).equal(expected));
    return collector.result();
  };
  EXPECT_TRUE(calibrate({}, exact).empty());
  const TensorQuant eight{.data_type = "fp", .bits = 8};
  const AttentionRanges moving = calibrate({.kv = eight, .query = eight, .averaging = 0.01}, exact).at(0);
  EXPECT_EQ(moving.module, "m");
  EXPECT_EQ(moving.key.item<float>(), key.abs().max().item<float>());
  EXPECT_EQ(moving.value.item<float>(), value.abs().max().item<float>());
  EXPECT_EQ(moving.query.item<float>(), query.abs().max().item<float>());
  const AttentionRangeCollector rounding(dense, {.kv = eight});
  const at::Tensor k = rounding.served(AttentionState::key, key), v = rounding.served(AttentionState::value, value);
  EXPECT_FALSE(k.equal(key));
  EXPECT_FALSE(attend(dense, k, v).equal(exact));
  EXPECT_FALSE(calibrate({.kv = eight}, attend(dense, k, v)).at(0).query.defined());
}

TEST(AttentionRangeCollector, SeesWhatAttentionComputesWith) {
  for (const double softcap : {0.0, 0.5}) sees_what_attention_computes_with(softcap);
}

TEST(AttentionRangeCollector, CollectsNothingUnlessAsked) {
  DenseHook dense;
  AttentionRangeCollector collector(dense, {});
  EXPECT_FALSE(collector.wanted());
  collector.see("attention", AttentionState::key, at::ones({1, 1, 1, 1}));
  EXPECT_TRUE(collector.result().empty());
}

TEST(QuantizedHook, ReplacesWeightBiasActivationAndNorm) {
  at::manual_seed(6);
  const AtenIntScheme scheme;
  const Linear layer = random_linear("q", 4, 8), other = random_linear("o", 4, 8);
  const at::Tensor weight = at::randn({4, 8}), bias = at::randn({4}), x = at::randn({3, 8});
  const TensorQuant act{.data_type = "int", .bits = 8, .group_size = -1};
  QuantizedHook hook;
  hook.replace(&layer, {.weight = weight, .bias = bias, .act_scheme = &scheme, .act = act});
  hook.replace_norm("norm", bias);
  EXPECT_TRUE(all_close(hook.linear(layer, x), at::linear(scheme.fake_quant_act(x, act, {}), weight, bias), 1e-5));
  EXPECT_TRUE(all_close(hook.linear(other, x), at::linear(x, other.weight), 1e-5));
  EXPECT_TRUE(hook.norm_weight("norm", x).is_same(bias));
  EXPECT_TRUE(hook.norm_weight("other", x).is_same(x));
}

TEST(RunSamples, WorksInPlaceAndEndsWithAShortBatch) {
  const at::Tensor in = at::arange(7 * 2 * 3, at::kFloat).view({7, 2, 3});
  const at::Tensor expected = in * 2;
  std::vector<int64_t> sizes, seen;
  const BlockForward forward = [&](const at::Tensor& x, std::span<const int64_t> samples, BlockHook&) {
    sizes.push_back(x.size(0));
    seen.insert(seen.end(), samples.begin(), samples.end());
    return x * 2;
  };
  DenseHook hook;
  run_samples(forward, in, in, 3, hook);
  EXPECT_TRUE(at::equal(in, expected));
  EXPECT_EQ(sizes, (std::vector<int64_t>{3, 3, 1}));
  EXPECT_EQ(seen, (std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6}));
}

// The layer that makes it, not one that passes it on.
TEST(RunSamples, NamesTheFirstLayerThatIsNotFinite) {
  Linear first = random_linear("model.layers.2.up", 4, 4), second = random_linear("model.layers.2.down", 4, 4);
  const BlockForward forward = [&](const at::Tensor& x, std::span<const int64_t>, BlockHook& hook) {
    return hook.linear(second, hook.linear(first, x));
  };
  const BlockForward together = [&](const at::Tensor& x, std::span<const int64_t>, BlockHook& hook) {
    const Linear* const both[] = {&second, &first};
    return hook.linears(both, x).back();
  };
  const at::Tensor in = at::ones({3, 2, 4}), before = in.clone();
  DenseHook hook;
  const auto message = [&](const BlockForward& run) {
    try {
      run_samples(run, in, in, 2, hook, "model.layers.2");
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::input);
      return std::string(error.what());
    }
    return std::string("nothing was refused");
  };
  EXPECT_EQ(message(forward), "nothing was refused");
  in.copy_(before);
  first.weight.fill_(3e38F);
  EXPECT_EQ(message(forward).find("layer 'model.layers.2.up': its output is not finite"), 0U) << message(forward);
  in.copy_(before);
  EXPECT_EQ(message(together).find("layer 'model.layers.2.up': its output is not finite"), 0U) << message(together);
  const BlockForward other = [](const at::Tensor& x, std::span<const int64_t>, BlockHook&) { return x * INFINITY; };
  EXPECT_EQ(message(other).find("'model.layers.2': its output is not finite"), 0U) << message(other);
}

}  // namespace
}  // namespace arkit::test
