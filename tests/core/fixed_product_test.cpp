#include <arkit/sdk/fixed_product.h>

#include <cstring>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "src/fixed_product_kernels.h"

namespace arkit {
namespace {

at::Tensor reference(const at::Tensor& x, const at::Tensor& weight) {
  at::Tensor y = at::empty({x.size(0), weight.size(0)}, at::kFloat);
  kernels::product_ref(x.const_data_ptr<float>(), weight.const_data_ptr<float>(), x.size(0), x.size(1), weight.size(0),
                       y.mutable_data_ptr<float>());
  return y;
}

// Bit for bit, for rows and outputs that fill their units and for those that do not.
TEST(FixedProduct, EqualsItsReferenceOnEveryCpu) {
  at::manual_seed(3);
  for (const int64_t rows : {1, 16, 37})
    for (const int64_t out : {5, 8, 50})
      for (const int64_t in : {3, 256, 700}) {
        const at::Tensor x = at::randn({rows, in}), narrow = at::randn({out, in}).to(at::kBFloat16);
        const at::Tensor weight = narrow.to(at::kFloat);
        EXPECT_TRUE(at::equal(fixed_linear(x, weight, {}), reference(x, weight))) << rows << " " << out << " " << in;
        EXPECT_TRUE(at::equal(fixed_linear(x, narrow, {}), reference(x, weight))) << rows << " " << out << " " << in;
      }
}

// Numbers fixed by hand: 1 is lost beside 2^24 when it is added to it, and kept when added to another 1 first.
TEST(FixedProduct, AddsChunksOf256InTheirOrder) {
  at::Tensor x = at::zeros({1, 512}), weight = at::ones({1, 512});
  x[0][0] = 16777216.0F;
  x[0][1] = 1.0F;
  EXPECT_EQ(fixed_linear(x, weight, {}).item<float>(), 16777216.0F);
  x[0][1] = 0.0F;
  x[0][300] = 1.0F;
  x[0][301] = 1.0F;
  EXPECT_EQ(fixed_linear(x, weight, {}).item<float>(), 16777218.0F);
}

TEST(FixedProduct, AddsTheBiasAndKeepsTheShape) {
  const at::Tensor x = at::ones({2, 3, 4}), weight = at::ones({5, 4}), bias = at::arange(5, at::kFloat);
  const at::Tensor y = fixed_linear(x, weight, bias);
  EXPECT_EQ(y.sizes(), (std::vector<int64_t>{2, 3, 5}));
  EXPECT_EQ(y[1][2][3].item<float>(), 7.0F);
}

}  // namespace
}  // namespace arkit
