// sdk/float16.h against LibTorch's casts.
#include <arkit/sdk/float16.h>

#include <gtest/gtest.h>

#include <ATen/ATen.h>

namespace arkit::testing {
namespace {

TEST(Float16, EveryHalfAndBfloat16RoundTrips) {
  for (uint32_t bits = 0; bits < 0x10000U; ++bits) {
    const auto h = static_cast<uint16_t>(bits);
    if ((h & 0x7C00U) != 0x7C00U || (h & 0x3FFU) == 0) {
      EXPECT_EQ(sdk::float_to_float16(sdk::float16_to_float(h)), h);
    }
    if ((h & 0x7F80U) != 0x7F80U || (h & 0x7FU) == 0) {
      EXPECT_EQ(sdk::float_to_bfloat16(sdk::bfloat16_to_float(h)), h);
    }
  }
}

TEST(Float16, RoundsLikeTorch) {
  at::manual_seed(3);
  const at::Tensor random = at::randint(INT32_MIN, INT32_MAX, {200000}, at::kInt).view(at::kFloat);
  const at::Tensor x =
      at::cat({random, at::randn({200000}) * 1e-5, at::randn({200000}) * 1e5,
               at::tensor({65504.0F, 65519.996F, 65520.0F, 5.96e-8F, 2.98e-8F, -2.99e-8F, 0.0F, -0.0F})});
  const at::Tensor half = x.to(at::kHalf).view(at::kShort), bf16 = x.to(at::kBFloat16).view(at::kShort);
  int wrong_half = 0, wrong_bf16 = 0;
  for (int64_t i = 0; i < x.numel(); ++i) {
    const float value = x.const_data_ptr<float>()[i];
    if (value != value) continue;
    wrong_half += sdk::float_to_float16(value) != static_cast<uint16_t>(half.const_data_ptr<int16_t>()[i]);
    wrong_bf16 += sdk::float_to_bfloat16(value) != static_cast<uint16_t>(bf16.const_data_ptr<int16_t>()[i]);
  }
  EXPECT_EQ(wrong_half, 0);
  EXPECT_EQ(wrong_bf16, 0);
}

}  // namespace
}  // namespace arkit::testing
