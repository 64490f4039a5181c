// A scheme that trains something else than SignRound does goes through the same loop, and its super-blocks through the
// same strips.
#include <algorithm>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "rounding/strip_rounding.h"
#include "tuning/super_block_scheme.h"
#include "tuning/trainables.h"
#include "tuning/tune_block.h"

namespace arkit::test {
namespace {

const TensorQuant kQuant{.data_type = "super_block",
                         .bits = 3,
                         .group_size = SuperBlockScheme::kGroup,
                         .sym = false,
                         .super_bits = 4,
                         .super_group_size = SuperBlockScheme::kSuper / SuperBlockScheme::kGroup};

class OwnTuner : public ::testing::Test {
 protected:
  OwnTuner() {
    at::manual_seed(5);
    linear.weight = at::randn({24, 64}) * 0.1;
    x = at::randn({4, 16, 64});
  }

  TuneResult tuned(double lr, double wanted = 1.0) {
    TuneTask task;
    task.forward = [this](const at::Tensor& hidden, std::span<const int64_t>, BlockHook& hook) {
      return hook.linear(linear, hidden);
    };
    task.inputs = x;
    task.targets = at::linear(x, linear.weight * wanted);
    task.layers.push_back({.linear = &linear, .quant = {.weight = kQuant}, .weight_scheme = &scheme});
    TuneOptions options{.iters = 60, .batch_size = 4};
    options.minmax_lr = lr;
    PythonRandom random(1);
    return tune_block(task, options, random);
  }

  SuperBlockScheme scheme;
  Linear linear{.name = "layer"};
  at::Tensor x;
};

TEST_F(OwnTuner, ItsTrainablesAreTunedAndItsCodesAreThoseOfTheBestIteration) {
  TuneResult result = tuned(0.004);
  WeightTuner& tuner = *result.layers.front().weight;
  EXPECT_LT(result.best_loss, 0.98 * result.losses.front());
  for (const char* name : {"super_scale", "super_min"}) EXPECT_FALSE((value(tuner, name) == 1).all().item<bool>());
  const at::Tensor decoded = scheme.dequantize(tuner.finish(), kQuant, at::kFloat);
  const at::Tensor error = at::linear(x, decoded) - at::linear(x, linear.weight);
  EXPECT_NEAR(error.square().mean().item<double>() / result.best_loss, 1.0, 1e-4);
}

TEST_F(OwnTuner, ItsBoundsHold) {
  TuneResult result = tuned(0.1, 4.0);  // steps that are four times as large would be better
  const Trainable& steps = trainable(*result.layers.front().weight, "super_scale");
  EXPECT_EQ(steps.value.max().item<float>(), steps.high);
}

TEST_F(OwnTuner, ItsRateIsThatOfRanges) {
  TuneResult still = tuned(1e-12);
  EXPECT_LT((value(*still.layers.front().weight, "super_scale") - 1).abs().max().item<float>(), 1e-6F);
}

TEST_F(OwnTuner, SuperBlocksGoThroughStrips) {
  linear.weight = at::randn({1 << 10, 1 << 10});
  LayerPlan plan{.name = "layer", .out_features = 1 << 10, .in_features = 1 << 10, .quant = {.weight = kQuant}};
  StripRounding rounding({.linear = linear, .plan = plan, .scheme = scheme});
  ASSERT_GT(rounding.strips(), 1);
  for (int64_t strip = rounding.strips() - 1; strip >= 0; --strip) rounding.round(strip);
  const QuantizedWeight whole = scheme.quantize_rtn(linear.weight, kQuant, RtnMode::plain, {}, 0, {});
  const std::vector<NamedTensor> expected = tensors_of(whole), got = tensors_of(rounding.quantized());
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(got[i].name, expected[i].name);
    EXPECT_TRUE(at::equal(got[i].tensor, expected[i].tensor)) << expected[i].name;
  }
}

}  // namespace
}  // namespace arkit::test
