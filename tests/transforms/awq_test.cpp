// The parts of the search that can be worked out by hand.
#include <cmath>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/sdk/channel_scales.h>
#include <arkit/sdk/testing.h>

#include "awq_kernels.h"
#include "awq_scales.h"

namespace arkit::awq {
namespace {

TEST(AwqKernels, SumsAreThoseOfDoubles) {
  at::manual_seed(3);
  for (const int64_t count : {1, 7, 8, 9, 200}) {
    const at::Tensor a = at::randn({count}), b = at::randn({count});
    const at::Tensor x = a.to(at::kDouble), y = b.to(at::kDouble);
    EXPECT_NEAR(squared_distance(a.const_data_ptr<float>(), b.const_data_ptr<float>(), count),
                (x - y).square().sum().item<double>(), 1e-9);
    EXPECT_NEAR(dot(a.const_data_ptr<float>(), b.const_data_ptr<float>(), count), (x * y).sum().item<double>(), 1e-9);
  }
  const at::Tensor rows = at::tensor({1.0F, -2.0F, 3.0F, -4.0F, 5.0F, 6.0F}).reshape({2, 3});
  std::vector<float> sums{10.0F, 0.0F, 0.0F};
  add_magnitudes(rows.const_data_ptr<float>(), 2, 3, sums.data());
  EXPECT_EQ(sums, (std::vector<float>{15.0F, 7.0F, 9.0F}));
}

TEST(AwqScales, WeightsByTheShareOfTheirGroupsRange) {
  // Groups of 2: 1 of 2 and 2 of 2, 4 of 4 and 1 of 4; the second row halves of both.
  const at::Tensor weight = at::tensor({1.0F, -2.0F, 4.0F, 1.0F, 2.0F, 2.0F, -1.0F, 4.0F}).reshape({2, 4});
  const std::vector<at::Tensor> one{weight};
  EXPECT_TRUE(sdk::close(weight_means(one, 2), at::tensor({0.75F, 1.0F, 0.625F, 0.625F}), 1e-5));
  const std::vector<at::Tensor> both{weight, at::zeros({2, 4})};
  EXPECT_TRUE(sdk::close(weight_means(both, 2), at::tensor({0.375F, 0.5F, 0.3125F, 0.3125F}), 1e-5));
  EXPECT_TRUE(sdk::close(weight_means(one, -1), at::tensor({0.375F, 0.5F, 0.625F, 0.625F}), 1e-5));
}

TEST(AwqScales, HeadsThatShareAChannelAreAveraged) {
  const ScalePlace place{.from = "v", .into = {"o"}, .channels = 4, .heads = 2, .repeats = 2};
  const at::Tensor columns = at::tensor({1.0F, 2.0F, 3.0F, 4.0F, 5.0F, 6.0F, 7.0F, 8.0F});
  EXPECT_TRUE(channel_means(columns, place).equal(at::tensor({2.0F, 3.0F, 6.0F, 7.0F})));
  EXPECT_TRUE(sdk::column_scales(place, at::tensor({1.0F, 2.0F, 3.0F, 4.0F}))
                  .equal(at::tensor({1.0F, 2.0F, 1.0F, 2.0F, 3.0F, 4.0F, 3.0F, 4.0F})));
}

TEST(AwqScales, TriesWhatItIsTold) {
  const at::Tensor activations = at::tensor({1.0F, 4.0F, 16.0F}), weights = at::tensor({0.5F, 0.25F, 1.0F});
  const auto with = [&](Duo duo) { return candidates(activations, weights, {.n_grid = 6, .duo = duo, .nsamples = 1}); };
  for (const Duo duo : {Duo::off, Duo::on, Duo::both}) {
    const std::vector<Candidate> all = with(duo);
    EXPECT_EQ(all.size(), 6u);
    EXPECT_TRUE(all.front().scales.equal(at::ones({3})));
    for (const Candidate& one : all) {
      EXPECT_NEAR((one.scales.max() * one.scales.min()).item<double>(), 1.0, 0.02);  // centred, in bfloat16
      EXPECT_TRUE(one.scales.equal(one.scales.to(at::kBFloat16).to(at::kFloat)));
    }
  }
  // Activations alone with exponent 1: 1, 4, 16, centred by sqrt(16).
  const std::vector<Candidate> off = with(Duo::off), on = with(Duo::on);
  EXPECT_EQ(off.back().exponent, 1.0);
  EXPECT_TRUE(off.back().scales.equal(at::tensor({0.25F, 1.0F, 4.0F})));
  // Weights alone (exponent 0): 2, 4, 1, centred by 2.
  EXPECT_EQ(on[1].exponent, 0.0);
  EXPECT_TRUE(sdk::close(on[1].scales, at::tensor({1.0F, 2.0F, 0.5F}), 0.01));
}

TEST(AwqScales, ADeadChannelIsNoTrouble) {
  const std::vector<Candidate> all = candidates(at::zeros({4}), at::zeros({4}), {});
  for (const Candidate& one : all) EXPECT_TRUE(one.scales.isfinite().logical_and(one.scales.gt(0)).all().item<bool>());
}

}  // namespace
}  // namespace arkit::awq
