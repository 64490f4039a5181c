#include "tuning/losses.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tuning/vectors.h"

namespace arkit::test {
namespace {

const std::vector<int64_t> kSamples{2, 0};

// [b, seqlen, width] with more rows than one task sums, so that partial sums are exercised.
at::Tensor random_output(int64_t n) {
  return at::randn({n, 130, 24});
}

struct Expected {
  double loss;
  at::Tensor gradient;
};

// The same loss by autograd. `keep` multiplies the differences.
Expected by_autograd(const at::Tensor& pred, const at::Tensor& targets, const at::Tensor& keep, bool sum) {
  const at::Tensor leaf = pred.detach().to(at::kFloat).requires_grad_();
  const at::Tensor picked = targets.index_select(0, at::tensor(kSamples)).to(at::kFloat);
  const at::Tensor squared = ((leaf - picked) * keep).square();
  const at::Tensor loss = sum ? squared.sum() : squared.mean();
  (loss * kLossScale).backward();
  return {loss.item<double>(), leaf.grad()};
}

TEST(BlockLoss, IsTheMeanSquaredErrorAndItsGradient) {
  at::manual_seed(1);
  const at::Tensor pred = random_output(2), targets = random_output(3);
  at::Tensor gradient;
  const double loss = block_loss(pred, targets, {}, kSamples, {}, gradient);
  const Expected expected = by_autograd(pred, targets, at::ones({}), false);
  EXPECT_NEAR(loss / expected.loss, 1.0, 1e-6);
  EXPECT_TRUE(all_close(gradient, expected.gradient, 1e-6));
}

TEST(BlockLoss, MayBeASum) {
  at::manual_seed(2);
  const at::Tensor pred = random_output(2), targets = random_output(3);
  at::Tensor gradient;
  const double loss = block_loss(pred, targets, {}, kSamples, {.sum = true}, gradient);
  const Expected expected = by_autograd(pred, targets, at::ones({}), true);
  EXPECT_NEAR(loss / expected.loss, 1.0, 1e-6);
  EXPECT_TRUE(all_close(gradient / 1000, expected.gradient / 1000, 1e-5));
}

TEST(BlockLoss, DividesByAllElementsThoughSomeAreMasked) {
  at::manual_seed(3);
  const at::Tensor pred = random_output(2), targets = random_output(3);
  at::Tensor mask = at::randint(0, 2, {3, 130}, at::kByte), gradient;
  const double loss = block_loss(pred, targets, mask, kSamples, {}, gradient);
  const at::Tensor keep = mask.index_select(0, at::tensor(kSamples)).to(at::kFloat).unsqueeze(-1);
  const Expected expected = by_autograd(pred, targets, keep, false);
  EXPECT_NEAR(loss / expected.loss, 1.0, 1e-6);
  EXPECT_TRUE(all_close(gradient, expected.gradient, 1e-6));
}

TEST(BlockLoss, DropsTheLargestThousandthOnRequest) {
  at::manual_seed(4);
  const at::Tensor pred = random_output(2), targets = random_output(3);
  at::Tensor gradient;
  const double loss = block_loss(pred, targets, {}, kSamples, {.kind = LossKind::outlier_free, .sum = true}, gradient);
  const at::Tensor distance = (pred - targets.index_select(0, at::tensor(kSamples))).abs().flatten();
  at::Tensor keep = at::ones_like(distance);
  keep.index_fill_(0, std::get<1>(distance.topk(distance.numel() / 1000)), 0.0);
  const Expected expected = by_autograd(pred, targets, keep.view_as(pred), false);
  EXPECT_NEAR(loss / expected.loss, 1.0, 1e-6);
  EXPECT_TRUE(all_close(gradient, expected.gradient, 1e-6));
}

TEST(BlockLoss, TakesBFloat16AndSumsInFloat) {
  at::manual_seed(5);
  const at::Tensor pred = random_output(2).to(at::kBFloat16), targets = random_output(3).to(at::kBFloat16);
  at::Tensor gradient;
  const double loss = block_loss(pred, targets, {}, kSamples, {}, gradient);
  const Expected expected = by_autograd(pred, targets, at::ones({}), false);
  EXPECT_NEAR(loss / expected.loss, 1.0, 1e-6);
  EXPECT_TRUE(at::equal(gradient, expected.gradient.to(at::kBFloat16)));
}

TEST(LossMask, LeavesOutPaddingAndTheLastPosition) {
  const at::Tensor ids = at::tensor({5, 2, 7, 2, 2, 1, 3, 4, 4, 4}, at::kLong).view({2, 5});
  const at::Tensor padded = at::tensor({1, 0, 1, 0, 0, 1, 1, 1, 1, 0}, at::kByte).view({2, 5});
  EXPECT_TRUE(at::equal(loss_mask(ids, 2), padded));
  const at::Tensor repeated = at::tensor({1, 1, 1, 0, 0, 1, 1, 0, 0, 0}, at::kByte).view({2, 5});
  EXPECT_TRUE(at::equal(loss_mask(ids, std::nullopt), repeated));
}

}  // namespace
}  // namespace arkit::test
