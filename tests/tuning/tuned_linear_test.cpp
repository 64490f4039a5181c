#include "tuning/tuned_linear.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "tuning/aten_int_scheme.h"
#include "tuning/trainables.h"
#include "tuning/vector_tuning.h"
#include "tuning/vectors.h"

namespace arkit::test {
namespace {

class TunedLayer : public ::testing::Test {
 protected:
  TunedLayer() {
    at::manual_seed(11);
    linear.weight = at::randn({12, 32});
    layer.linear = &linear;
    layer.quant.weight = {.data_type = "int", .bits = 4, .group_size = 16};
    layer.tuner = scheme.tuner(linear.weight, layer.quant.weight, {});
    layer.weight = at::empty_like(linear.weight);
    layer.tuner->fake_quant(layer.weight);
    scratch = at::empty({12 * 32}, at::kFloat);
  }

  AtenIntScheme scheme;
  Linear linear{.name = "layer"};
  TunedLinear layer;
  at::Tensor scratch;
};

TEST_F(TunedLayer, GivesTheGradientsOfAutograd) {
  const at::Tensor x = at::randn({2, 5, 32}).requires_grad_(), bias = at::randn({12}).requires_grad_();
  const at::Tensor dy = at::randn({2, 5, 12});
  const at::Tensor y = tuned_linear(layer, x, bias, scratch);
  y.backward(dy);

  const at::Tensor x2 = x.detach().clone().requires_grad_(), bias2 = bias.detach().clone().requires_grad_();
  const at::Tensor w = layer.weight.clone().requires_grad_();
  const at::Tensor expected = at::linear(x2, w, bias2);
  expected.backward(dy);
  const std::unique_ptr<WeightTuner> same = scheme.tuner(linear.weight, layer.quant.weight, {});
  same->backward(w.grad());

  EXPECT_TRUE(all_close(y, expected, 1e-5));
  EXPECT_TRUE(all_close(x.grad(), x2.grad(), 1e-5));
  EXPECT_TRUE(all_close(bias.grad(), bias2.grad(), 1e-5));
  EXPECT_TRUE(all_close(gradient(*layer.tuner, "v"), gradient(*same, "v"), 1e-4));
  EXPECT_TRUE(
      all_close(gradient(*layer.tuner, "max_scale"), gradient(*same, "max_scale"), 1e-2));  // through a float16 node
  EXPECT_TRUE(layer.touched);
}

TEST_F(TunedLayer, NeedsNoInputGradientToReachTheWeight) {
  const at::Tensor y = tuned_linear(layer, at::randn({5, 32}), {}, scratch);
  ASSERT_TRUE(y.requires_grad());
  y.backward(at::ones_like(y));
  EXPECT_GT(gradient(*layer.tuner, "v").abs().max().item<float>(), 0.0F);
}

TEST_F(TunedLayer, AddsUpOverTwoUses) {
  const at::Tensor x = at::randn({5, 32});
  const at::Tensor once = tuned_linear(layer, x, {}, scratch);
  once.backward(at::ones_like(once));
  const at::Tensor single = gradient(*layer.tuner, "v").clone();
  gradient(*layer.tuner, "v").zero_();
  const at::Tensor twice = tuned_linear(layer, x, {}, scratch) + tuned_linear(layer, x, {}, scratch);
  twice.backward(at::ones_like(twice));
  EXPECT_TRUE(all_close(gradient(*layer.tuner, "v"), 2 * single, 1e-4));
}

TEST_F(TunedLayer, WithoutAutogradLeavesNoTrace) {
  const at::NoGradGuard no_grad;
  EXPECT_FALSE(tuned_linear(layer, at::randn({5, 32}), {}, scratch).requires_grad());
}

TEST(VectorTuning, StartsAtTheVectorAndMovesInStepsOfItsGrid) {
  const at::Tensor base = at::tensor({-0.5F, 0.25F, 1.0F});
  VectorTuning tuning = begin_vector_tuning(base);
  EXPECT_TRUE(all_close(tuned_vector(tuning), base, 1e-3));  // the float16 scale may cut the largest element
  EXPECT_NEAR(tuning.scale, 0.1F, 1e-4);
  tuning.v[1] = 1.0F;
  EXPECT_NEAR(tuned_vector(tuning)[1].item<float>(), 0.25F + tuning.scale, 1e-6);
  tuning.v[1] = 100.0F;  // clamped to the grid's end
  EXPECT_NEAR(tuned_vector(tuning)[1].item<float>(), 1.0F, 1e-3);
}

}  // namespace
}  // namespace arkit::test
