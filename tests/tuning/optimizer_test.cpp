// One step at a time against values worked out by hand: a wrong moment or correction still lowers losses.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tuning/optimizer.h"

namespace arkit::test {
namespace {

class Optimizer : public ::testing::Test {
 protected:
  Optimizer() {
    param.value = at::zeros({1}, at::kFloat);
    param.gradient = at::zeros({1}, at::kFloat);
    param.lr = 0.1F;
  }
  // The value after a step with this gradient.
  float step(float gradient) {
    param.gradient.fill_(gradient);
    optimizer_step(param, options);
    EXPECT_EQ(param.gradient.item<float>(), 0.0F) << "the next iteration adds to it";
    return param.value.item<float>();
  }

  TunedParam param;
  TuneOptions options;
};

TEST_F(Optimizer, SignStepsHaveTheLengthOfTheLearningRate) {
  EXPECT_FLOAT_EQ(step(1e-6F), -0.1F);
  EXPECT_FLOAT_EQ(step(-40.0F), 0.0F);
  EXPECT_FLOAT_EQ(step(0.0F), 0.0F);
  param.lr = 0.05F;
  EXPECT_FLOAT_EQ(step(2.0F), -0.05F);
  param.gradient = at::Tensor();
  optimizer_step(param, options);  // nothing reached it: it stays
  EXPECT_FLOAT_EQ(param.value.item<float>(), -0.05F);
  EXPECT_EQ(param.steps, 4);
}

// Buffers 1, 0.9 - 0.5 = 0.4, 0.36 - 1 = -0.64: the second step goes on against its gradient. A first buffer of
// (1 - 0.9) * 1 would turn there.
TEST_F(Optimizer, MomentumAddsGradientsToADecayingBuffer) {
  options.momentum = 0.9;
  EXPECT_FLOAT_EQ(step(1.0F), -0.1F);
  EXPECT_FLOAT_EQ(step(-0.5F), -0.2F);
  EXPECT_FLOAT_EQ(param.first.item<float>(), 0.4F);
  EXPECT_FLOAT_EQ(step(-1.0F), -0.1F);
  EXPECT_FLOAT_EQ(param.first.item<float>(), -0.64F);
}

// Gradients 1, -1/2, 1/4 with beta 0.9 and 0.999:
//   m = 0.1, 0.04, 0.061                                 corrected by 1 - 0.9^t   = 0.1, 0.19, 0.271
//   v = 0.001, 0.001249, 0.001310251                     corrected by 1 - 0.999^t = 0.001, 0.001999, 0.002997001
//   steps 0.1 * (m / c1) / sqrt(v / c2) = 0.1, 0.0266337, 0.0340429
TEST_F(Optimizer, AdamKeepsMomentsAndCorrectsTheirStart) {
  options.enable_adam = true;
  options.momentum = 0.9;  // Adam has moments of its own
  constexpr float kGradients[] = {1.0F, -0.5F, 0.25F};
  constexpr double kFirst[] = {0.1, 0.04, 0.061}, kSecond[] = {0.001, 0.001249, 0.001310251};
  constexpr double kValues[] = {-0.099999999, -0.126633703, -0.160676617};
  for (size_t i = 0; i < 3; ++i) {
    // 1 - 0.999 in float32 is 1.3e-5 of itself off.
    EXPECT_NEAR(step(kGradients[i]) / kValues[i], 1.0, 2e-5) << "step " << i;
    EXPECT_NEAR(param.first.item<float>() / kFirst[i], 1.0, 2e-5) << "step " << i;
    EXPECT_NEAR(param.second.item<float>() / kSecond[i], 1.0, 2e-5) << "step " << i;
  }
}

// Next to nothing divided by its own root would be a whole step; eps keeps it short: 0.1 * 1e-8 / (1e-8 + 1e-8).
TEST_F(Optimizer, AdamsEpsilonHoldsBackTinyGradients) {
  options.enable_adam = true;
  EXPECT_NEAR(step(1e-8F), -0.05, 1e-6);
}

}  // namespace
}  // namespace arkit::test
