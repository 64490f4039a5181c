// Rows rounded in strips are the rows of the whole layer.
#include "rounding/strip_rounding.h"

#include <limits>

#include <ATen/ATen.h>

#include <arkit/str.h>

#include "jobs/job_testing.h"
#include "rounding/error_kernels.h"

namespace arkit {
namespace {

struct StripCase {
  const char* name;
  TensorQuant quant;
};

LayerPlan plan_of(const TensorQuant& quant, const at::Tensor& weight) {
  LayerPlan plan;
  plan.name = "layer";
  plan.out_features = weight.size(0);
  plan.in_features = weight.size(1);
  plan.quant.weight = quant;
  return plan;
}

bool same_bytes(const at::Tensor& a, const at::Tensor& b) {
  if (a.defined() != b.defined()) return false;
  if (!a.defined()) return true;
  return a.sizes() == b.sizes() && a.scalar_type() == b.scalar_type() &&
         at::equal(a.contiguous().view(at::kByte), b.contiguous().view(at::kByte));
}

std::vector<StripCase> strip_cases() {
  return {{"int_sym", {.data_type = "int", .bits = 4, .group_size = 128}},
          {"int_asym", {.data_type = "int", .bits = 3, .group_size = 64, .sym = false}},
          {"int_row", {.data_type = "int", .bits = 8, .group_size = -1}},
          {"mx_fp", {.data_type = "mx_fp", .bits = 4, .group_size = 32}},
          {"nv_fp", {.data_type = "nv_fp", .bits = 4, .group_size = 16}},
          {"fp_channel", {.data_type = "fp", .bits = 8, .group_size = -1}},
          {"fp_block", {.data_type = "fp", .bits = 8, .group_size = 128, .block_rows = 128}},
          {"fp_tensor", {.data_type = "fp", .bits = 8, .group_size = 0}}};
}

class StripRoundingTest : public ::testing::TestWithParam<StripCase> {};

TEST_P(StripRoundingTest, EqualsTheWholeLayer) {
  const TensorQuant& quant = GetParam().quant;
  at::manual_seed(11);
  Linear linear;
  linear.name = "layer";
  linear.weight = at::randn({1000, 736}).to(at::kBFloat16);  // the last strip and the last block are short
  linear.out_features = 1000;
  linear.in_features = 736;
  const LayerPlan plan = plan_of(quant, linear.weight);
  const Scheme& scheme = testing::registry().scheme_for(quant.data_type);
  const at::Tensor global = scheme.global_scale(linear.weight, quant);
  StripRounding strips(
      {.linear = linear, .plan = plan, .scheme = scheme, .global_scale = global, .dequantized = at::kBFloat16});
  EXPECT_EQ(strips.strips() > 1, quant.group_size != 0);
  for (int64_t i = strips.strips(); i-- > 0;) strips.round(i);  // in any order
  const QuantizedWeight whole = scheme.quantize_rtn(linear.weight, quant, RtnMode::plain, {}, 0, global);
  EXPECT_TRUE(same_bytes(strips.quantized().codes, whole.codes));
  EXPECT_TRUE(same_bytes(strips.quantized().scale, whole.scale));
  EXPECT_TRUE(same_bytes(strips.quantized().zero_point, whole.zero_point));
  EXPECT_TRUE(same_bytes(strips.quantized().global_scale, whole.global_scale));
  const at::Tensor back = scheme.dequantize(whole, quant, at::kBFloat16);
  EXPECT_TRUE(same_bytes(strips.dequantized(), back));
  const at::Tensor w = linear.weight.to(at::kDouble), d = back.to(at::kDouble);
  const double expected = ((w - d).norm() / w.norm()).item<double>();
  EXPECT_NEAR(strips.relative_error(), expected, 1e-5 * expected);
  EXPECT_NEAR(relative_error(linear.weight, back), expected, 1e-5 * expected);
}

// Nothing of the size of the layer is handed in or out: rows are read, and strips taken as they are done.
TEST_P(StripRoundingTest, ReadsRowsAndHandsThemOn) {
  const TensorQuant& quant = GetParam().quant;
  if (quant.group_size == 0) GTEST_SKIP() << "one scale for all rows";
  at::manual_seed(12);
  const at::Tensor weight = at::randn({1000, 736}).to(at::kBFloat16);
  Linear linear;
  linear.name = "layer";
  const LayerPlan plan = plan_of(quant, weight);
  const Scheme& scheme = testing::registry().scheme_for(quant.data_type);
  const at::Tensor global = scheme.global_scale(weight, quant);
  const QuantizedWeight whole = scheme.quantize_rtn(weight, quant, RtnMode::plain, {}, 0, global);
  at::Tensor codes = at::zeros_like(whole.codes);
  int64_t most_rows = 0;
  StripRounding strips({.linear = linear,
                        .plan = plan,
                        .scheme = scheme,
                        .global_scale = global,
                        .rows =
                            [&](int64_t first, int64_t count) {
                              most_rows = std::max(most_rows, count);
                              return weight.narrow(0, first, count).clone();
                            },
                        .take = [&](const QuantizedWeight& part,
                                    int64_t first) { codes.narrow(0, first, part.codes.size(0)).copy_(part.codes); }});
  ASSERT_GT(strips.strips(), 1);
  for (int64_t i = strips.strips(); i-- > 0;) strips.round(i);
  EXPECT_TRUE(same_bytes(codes, whole.codes));
  EXPECT_LT(most_rows, 600);
  EXPECT_FALSE(strips.quantized().codes.defined());
  EXPECT_EQ(strips.largest_weight(), weight.abs().max().item<double>());
  const at::Tensor w = weight.to(at::kDouble), d = scheme.dequantize(whole, quant, at::kBFloat16).to(at::kDouble);
  const double expected = ((w - d).norm() / w.norm()).item<double>();
  EXPECT_NEAR(strips.relative_error(), expected, 1e-5 * expected);
}

INSTANTIATE_TEST_SUITE_P(All, StripRoundingTest, ::testing::ValuesIn(strip_cases()),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(StripRounding, NamesTheElementThatIsNotFinite) {
  Linear linear;
  linear.name = "layer";
  linear.weight = at::zeros({2000, 256}).to(at::kBFloat16);
  linear.weight[1999][3] = std::numeric_limits<float>::infinity();
  const LayerPlan plan = plan_of({.data_type = "int", .bits = 4, .group_size = 128}, linear.weight);
  StripRounding strips({.linear = linear, .plan = plan, .scheme = testing::registry().scheme_for("int")});
  strips.round(0);
  const std::string message = testing::refusal(ErrorCode::input, [&] { strips.round(strips.strips() - 1); });
  EXPECT_TRUE(testing::contains(message, "'layer.weight': element [1999, 3] is inf")) << message;
}

TEST(ErrorKernels, CountEveryElementOfOddRows) {
  for (const int64_t width : {1, 15, 16, 17, 33}) {
    const at::Tensor w = at::randn({3, width}), d = at::randn({3, width});
    const auto sums = rounding::error_sums(w.const_data_ptr<float>(), d.const_data_ptr<float>(), 3, width);
    EXPECT_NEAR(sums.error, (w - d).square().sum().item<double>(), 1e-4);
    EXPECT_NEAR(sums.norm, w.square().sum().item<double>(), 1e-4);
  }
}

}  // namespace
}  // namespace arkit
