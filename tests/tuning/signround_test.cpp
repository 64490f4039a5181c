// The whole tuning loop against the reference's curves: the toy block y = fc2(silu(fc1(x))) through the code that tunes
// real blocks.
#include <cmath>
#include <numeric>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/error.h>
#include <arkit/registry.h>

#include "tuning/aten_int_scheme.h"
#include "tuning/recording_scheme.h"
#include "tuning/trainables.h"
#include "tuning/tune_block.h"
#include "tuning/vectors.h"

namespace arkit::test {
namespace {

constexpr double kLossTolerance = 1e-5;  // relative; the reference sums in another order
constexpr double kStepTolerance = 1e-6;  // parameters move in whole learning rates

struct Toy {
  Linear fc1{.name = "fc1"}, fc2{.name = "fc2"};
  at::Tensor x;
  TuneOptions options;
  TensorQuant quant;

  explicit Toy(const json::Object& vector) {
    const json::Object& p = vector.at("params").as_object();
    const json::Object& in = vector.at("inputs").as_object();
    fc1.weight = tensor_of(in.at("fc1"));
    fc2.weight = tensor_of(in.at("fc2"));
    x = tensor_of(in.at("x"));
    options.iters = p.at("iters").to_number<int64_t>();
    options.batch_size = p.at("batch_size").to_number<int64_t>();
    options.gradient_accumulate_steps = p.at("gradient_accumulate_steps").to_number<int64_t>();
    quant.bits = p.at("bits").to_number<int>();
    quant.group_size = p.at("group_size").to_number<int64_t>();
    quant.sym = p.at("sym").as_bool();
  }

  [[nodiscard]] TuneTask task(const Scheme& scheme) {
    TuneTask out;
    out.forward = [this](const at::Tensor& hidden, std::span<const int64_t>, BlockHook& hook) {
      return hook.linear(fc2, at::silu(hook.linear(fc1, hidden)));
    };
    out.inputs = x;
    out.targets = at::linear(at::silu(at::linear(x, fc1.weight)), fc2.weight);
    for (const Linear* linear : {&fc1, &fc2})
      out.layers.push_back({.linear = linear, .quant = {.weight = quant}, .weight_scheme = &scheme});
    return out;
  }
};

const Scheme* int_scheme() {
  static const Registry registry({.named = {}, .folders = {ARKIT_PLUGIN_BUILD_DIR}});
  return &registry.scheme("int");
}

void expect_like_reference(const std::string& name, const Scheme& scheme) {
  const json::Object& vector = vector_case(name);
  const json::Object& out = vector.at("outputs").as_object();
  Toy toy(vector);
  PythonRandom random(42);
  TuneResult result = tune_block(toy.task(scheme), toy.options, random);

  const std::vector<double> losses = numbers_of(out.at("losses"));
  ASSERT_EQ(result.losses.size(), losses.size());
  for (size_t i = 0; i < losses.size(); ++i)
    EXPECT_NEAR(result.losses[i] / losses[i], 1.0, kLossTolerance) << "iteration " << i;
  EXPECT_EQ(result.best_iter, out.at("best_iter").to_number<int64_t>());

  Linear* linears[] = {&toy.fc1, &toy.fc2};
  for (size_t i = 0; i < 2; ++i) {
    const std::string layer = linears[i]->name;
    WeightTuner& tuner = *result.layers[i].weight;
    const auto expected = [&](const char* what) { return tensor_of(out.at(layer + what)); };
    EXPECT_TRUE(all_close(value(tuner, "v"), expected("_value"), kStepTolerance)) << layer;
    EXPECT_TRUE(all_close(value(tuner, "min_scale"), expected("_min_scale"), kStepTolerance)) << layer;
    EXPECT_TRUE(all_close(value(tuner, "max_scale"), expected("_max_scale"), kStepTolerance)) << layer;
    const QuantizedWeight weight = tuner.finish();
    EXPECT_TRUE(all_close(weight.scale, expected("_scale"), 0.0)) << layer;
    EXPECT_TRUE(all_close(scheme.dequantize(weight, toy.quant, at::kFloat), expected("_weight_qdq"), 1e-6)) << layer;
    if (!toy.quant.sym) EXPECT_TRUE(all_close(weight.zero_point, expected("_zp"), 0.0)) << layer;
  }
}

class SignRound : public ::testing::TestWithParam<const char*> {};

TEST_P(SignRound, FollowsTheReferenceWithDifferentiableOperators) {
  expect_like_reference(GetParam(), AtenIntScheme());
}

TEST_P(SignRound, FollowsTheReferenceWithTheIntPlugin) {
  expect_like_reference(GetParam(), *int_scheme());
}

INSTANTIATE_TEST_SUITE_P(Vectors, SignRound,
                         ::testing::Values("signround_int2_asym_fullbatch", "signround_int2_sym_minibatch",
                                           "signround_int4_asym_accum2"));

TEST(LearningRate, DecaysLikeTheReference) {
  const std::vector<double> expected =
      numbers_of(vector_case("signround_int4_asym_accum2").at("outputs").as_object().at("lrs"));
  LinearDecay decay(static_cast<int64_t>(expected.size()));
  auto lr = static_cast<float>(1.0 / static_cast<double>(expected.size()));
  for (size_t t = 0; t < expected.size(); ++t) {
    EXPECT_EQ(lr, static_cast<float>(expected[t])) << "iteration " << t;
    decay.advance(lr);
    decay.next();
  }
}

TEST(LearningRate, IsDoubledForFewBitsInLongRuns) {
  TuneOptions options{.iters = 200};
  EXPECT_DOUBLE_EQ(layer_rates(options, 2).value, 0.005);
  options.iters = 1000;
  EXPECT_DOUBLE_EQ(layer_rates(options, 4).value, 0.001);
  EXPECT_DOUBLE_EQ(layer_rates(options, 3).value, 0.002);
  EXPECT_DOUBLE_EQ(layer_rates(options, 3).minmax, 0.002);
  options.lr = 0.01;
  EXPECT_DOUBLE_EQ(layer_rates(options, 3).value, 0.01);
  EXPECT_DOUBLE_EQ(layer_rates(options, 3).minmax, 0.01);
  options.minmax_lr = 0.02;
  EXPECT_DOUBLE_EQ(layer_rates(options, 3).minmax, 0.02);
}

// The rest watches single options on one case.
class ToyOptions : public ::testing::Test {
 protected:
  Toy toy{vector_case("signround_int2_sym_minibatch")};
  AtenIntScheme scheme;

  TuneResult run() {
    PythonRandom random(42);
    return tune_block(toy.task(scheme), toy.options, random);
  }
  TuneResult run(const TuneTask& task) {
    PythonRandom random(42);
    return tune_block(task, toy.options, random);
  }
};

TEST_F(ToyOptions, StopsAfterDynamicMaxGapIterationsWithoutABetterLoss) {
  const TuneResult all = run();  // best at 14 of 30
  toy.options.dynamic_max_gap = 5;
  const TuneResult result = run();
  ASSERT_LT(result.losses.size(), all.losses.size());
  EXPECT_EQ(static_cast<int64_t>(result.losses.size()) - 1, result.best_iter + 5);
}

// Without it the best ones, which are others.
TEST_F(ToyOptions, NotUseBestMseKeepsTheParametersOfTheLastIteration) {
  const RecordingScheme recording;
  for (const bool not_use_best_mse : {true, false}) {
    recording.iterations.clear();
    toy.options.not_use_best_mse = not_use_best_mse;
    const TuneResult result = run(toy.task(recording));
    const auto& iterations = recording.iterations.at(toy.fc1.weight.const_data_ptr());
    ASSERT_EQ(iterations.size(), 30U);
    ASSERT_NE(result.best_iter, 29);
    const auto& kept = not_use_best_mse ? iterations.back() : iterations[static_cast<size_t>(result.best_iter)];
    EXPECT_TRUE(at::equal(value(*result.layers[0].weight, "v"), kept.v)) << not_use_best_mse;
    EXPECT_TRUE(at::equal(value(*result.layers[0].weight, "min_scale"), kept.min_scale)) << not_use_best_mse;
    EXPECT_FALSE(at::equal(iterations.back().v, iterations[static_cast<size_t>(result.best_iter)].v));
  }
}

TEST_F(ToyOptions, WithoutMinmaxTuningOnlyOffsetsMove) {
  toy.options.enable_minmax_tuning = false;
  const TuneResult result = run();
  EXPECT_EQ(result.layers[0].weight->trainables().size(), 1U);
  EXPECT_GT(value(*result.layers[0].weight, "v").abs().max().item<float>(), 0.0F);
}

TEST_F(ToyOptions, ABatchLargerThanTheSamplesIsCut) {
  toy.options.batch_size = 64;
  EXPECT_EQ(run().losses.size(), 30U);
}

TEST_F(ToyOptions, NoIterationsLeaveTheParametersAtTheirStart) {
  toy.options.iters = 0;
  const TuneResult result = run();
  EXPECT_EQ(result.best_iter, -1);
  EXPECT_EQ(value(*result.layers[0].weight, "v").abs().max().item<float>(), 0.0F);
}

// The last iterations, not the best one, which is below the first by chance; steps and moments are
// optimizer_test.cpp's.
TEST_F(ToyOptions, AdamAndMomentumAlsoLowerTheLoss) {
  toy.options.batch_size = 16;  // every iteration sees all samples, so losses compare
  toy.options.iters = 60;
  const auto gain = [this] {
    const std::vector<double> losses = run().losses;
    return std::accumulate(losses.end() - 10, losses.end(), 0.0) / 10 / losses.front();
  };
  const double sign = gain();
  EXPECT_LT(sign, 0.8);
  toy.options.enable_adam = true;
  const double adam = gain();
  EXPECT_LT(adam, 0.8);
  EXPECT_NE(adam, sign);
  toy.options.enable_adam = false;
  toy.options.momentum = 0.9;
  const double momentum = gain();
  EXPECT_LT(momentum, 0.95);
  EXPECT_NE(momentum, sign);
}

TEST_F(ToyOptions, MaskedPositionsDoNotCount) {
  TuneTask task = toy.task(scheme);
  task.loss_mask = at::ones({16, 3}, at::kByte);
  const TuneResult full = run(task);
  task.loss_mask.select(1, 2).zero_();
  const TuneResult masked = run(task);
  EXPECT_NE(masked.losses, full.losses);
  task.targets.select(1, 2).fill_(1e6);  // would dominate every loss
  const TuneResult same = run(task);
  EXPECT_EQ(same.losses, masked.losses);
  EXPECT_TRUE(at::equal(value(*same.layers[0].weight, "v"), value(*masked.layers[0].weight, "v")));
}

TEST_F(ToyOptions, ALossThatIsNotFiniteEndsTheRunWithTheName) {
  for (const float value : {INFINITY, NAN, 1e30F}) {
    TuneTask task = toy.task(scheme);
    task.name = "model.layers.7";
    task.targets = task.targets.clone();
    task.targets[3][1][0] = value;  // the square of 1e30 is infinite
    try {
      (void)run(task);
      ADD_FAILURE() << value << " was tuned on";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::input);
      EXPECT_NE(std::string(error.what()).find("'model.layers.7': the loss of iteration"), std::string::npos)
          << error.what();
    }
  }
}

TEST_F(ToyOptions, TargetsMayComeFromAFunction) {
  TuneTask task = toy.task(scheme);
  const TuneResult cached = run(task);
  const at::Tensor all = std::exchange(task.targets, at::Tensor());
  task.target = [&](std::span<const int64_t> samples) {
    return all.index_select(0, at::tensor(at::IntArrayRef(samples.data(), samples.size()), at::kLong));
  };
  EXPECT_EQ(run(task).losses, cached.losses);
}

TEST_F(ToyOptions, StaticActivationsTuneTheFactorOfTheirMaximum) {
  TuneTask task = toy.task(scheme);
  for (TuneLayer& layer : task.layers) {
    layer.act_scheme = &scheme;
    layer.quant.act = {.data_type = "int", .bits = 4, .group_size = 0, .dynamic = false};
    layer.act_max = at::full({1}, 8.0F);  // far too large: the factor must shrink
  }
  toy.options.batch_size = 16;
  const TuneResult result = run(task);
  EXPECT_LT(result.layers[0].act_max.item<float>(), 8.0F);
  EXPECT_LT(result.best_loss, result.losses.front());
}

TEST_F(ToyOptions, BiasesAndNormsAreTunedOnRequest) {
  toy.fc1.bias = at::linspace(-1, 1, 8);
  const at::Tensor norm = at::linspace(0.5, 1.5, 32);
  TuneTask task = toy.task(scheme);
  task.forward = [this, norm](const at::Tensor& hidden, std::span<const int64_t>, BlockHook& hook) {
    return hook.linear(toy.fc2, at::silu(hook.linear(toy.fc1, hidden * hook.norm_weight("norm", norm))));
  };
  task.targets = at::linear(at::silu(at::linear(toy.x * norm, toy.fc1.weight, toy.fc1.bias)), toy.fc2.weight);
  task.norms.emplace_back("norm", norm);
  toy.options.batch_size = 16;
  const TuneResult plain = run(task);
  EXPECT_TRUE(plain.norms.empty());
  toy.options.enable_norm_bias_tuning = true;
  const TuneResult tuned = run(task);
  EXPECT_GT(count_different(tuned.norms.at("norm"), norm, 1e-3), 0);
  EXPECT_GT(count_different(tuned.layers[0].bias, toy.fc1.bias, 1e-3), 0);
  EXPECT_FALSE(tuned.layers[1].bias.defined());
}

}  // namespace
}  // namespace arkit::test
