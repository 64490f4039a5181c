#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/sdk/int_layouts.h>

namespace arkit::sdk {
namespace {

uint32_t word(const at::Tensor& words, int64_t row, int64_t column) {
  return static_cast<uint32_t>(words[row][column].item<int32_t>());
}

QuantizedWeight constant_weight(int64_t out, int64_t in, int64_t groups) {
  QuantizedWeight weight;
  weight.codes = at::zeros({out, in}, at::kByte);
  weight.scale = at::ones({out, groups}, at::kHalf);
  return weight;
}

// docs/spec/packing.md 3: what the zero words of symmetric layers are in both conventions.
TEST(IntLayouts, SymmetricZeroWords) {
  struct Expected {
    int bits;
    uint32_t minus_one, direct;
  };
  for (const Expected& e : {Expected{4, 0x77777777, 0x88888888}, Expected{2, 0x55555555, 0xAAAAAAAA},
                            Expected{8, 0x7F7F7F7F, 0x80808080}, Expected{3, 0xDB6DB6DB, 0x24924924}}) {
    const QuantizedWeight weight = constant_weight(32, 32, 1);
    const TensorQuant quant{.bits = e.bits, .group_size = 32};
    EXPECT_EQ(word(pack_gptq(weight, quant, {.zeros = ZeroConvention::minus_one}).at("qzeros"), 0, 0), e.minus_one);
    EXPECT_EQ(word(pack_gptq(weight, quant, {.zeros = ZeroConvention::direct}).at("qzeros"), 0, 0), e.direct);
    EXPECT_EQ(word(pack_awq(weight, quant).at("qzeros"), 0, 0), e.direct) << "the interleave leaves a constant alone";
  }
}

TEST(IntLayouts, GIdxNamesTheGroupOfEachInput) {
  const TensorQuant quant{.bits = 4, .group_size = 64};
  const TensorMap packed =
      pack_gptq(constant_weight(32, 160, 3), quant, {.zeros = ZeroConvention::direct, .g_idx = true});
  const at::Tensor g_idx = packed.at("g_idx");
  EXPECT_EQ(g_idx.scalar_type(), at::kInt);
  EXPECT_EQ(g_idx[63].item<int>(), 0);
  EXPECT_EQ(g_idx[64].item<int>(), 1);
  EXPECT_EQ(g_idx[159].item<int>(), 2) << "the last group is short";
}

// A zero point of 0 is stored as 0 and read as 1: the codes go up with it, and only the largest of the group loses.
TEST(IntLayouts, ZeroPointZeroKeepsTheValues) {
  const TensorQuant quant{.bits = 4, .group_size = 32, .sym = false};
  QuantizedWeight weight = constant_weight(32, 64, 2);
  weight.codes = at::arange(64, at::kLong).remainder(16).expand({32, 64}).to(at::kByte).contiguous();
  weight.zero_point = at::full({32, 2}, 5.0, at::kFloat);
  weight.zero_point.select(1, 1).zero_();
  const TensorMap packed = pack_gptq(weight, quant, {.zeros = ZeroConvention::minus_one});
  const QuantizedWeight back = unpack_gptq(packed, quant, 32, 64, ZeroConvention::minus_one);
  EXPECT_EQ(back.zero_point[0][1].item<float>(), 1.0F);
  const at::Tensor meant = weight.codes.to(at::kFloat) - weight.zero_point.repeat_interleave(32, 1);
  const at::Tensor read = back.codes.to(at::kFloat) - back.zero_point.repeat_interleave(32, 1);
  const at::Tensor off = (meant - read).abs();
  EXPECT_EQ(off.slice(1, 0, 32).max().item<float>(), 0.0F) << "the other group is untouched";
  EXPECT_EQ(off.max().item<float>(), 1.0F);
  EXPECT_EQ(off.gt(0).sum().item<int64_t>(), 32 * 2) << "only code 15, twice in each row";
  const TensorMap direct = pack_gptq(weight, quant, {.zeros = ZeroConvention::direct});
  EXPECT_TRUE(unpack_gptq(direct, quant, 32, 64, ZeroConvention::direct).codes.equal(weight.codes));
}

TEST(IntLayouts, ScalesAreTransposedHalves) {
  QuantizedWeight weight = constant_weight(32, 64, 2);
  weight.scale = at::arange(64, at::kFloat).reshape({32, 2}).neg();
  const at::Tensor scales = pack_awq(weight, {.bits = 4, .group_size = 32}).at("scales");
  EXPECT_EQ(scales.scalar_type(), at::kHalf);
  EXPECT_EQ(scales.sizes(), (std::vector<int64_t>{2, 32}));
  EXPECT_EQ(scales[1][3].item<float>(), -7.0F) << "negative scales stay negative";
}

TEST(IntLayouts, PackingManyOutputsInParallelEqualsOneThread) {
  at::manual_seed(3);
  const at::Tensor codes = at::randint(0, 32, {512, 256}, at::kLong).to(at::kByte);
  EXPECT_TRUE(unpack_gptq_codes(pack_gptq_codes(codes, 5), 5).equal(codes));
  EXPECT_TRUE(unpack_awq_codes(pack_awq_codes(codes, 5), 5).equal(codes));
}

}  // namespace
}  // namespace arkit::sdk
