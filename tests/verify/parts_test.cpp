// The parts of `verify` by themselves, with expectations worked out by hand.

#include <cmath>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "jobs/job_testing.h"
#include "verify/code_check.h"
#include "verify/expected_error.h"
#include "verify/json_numbers.h"

namespace arkit {
namespace {

// A step is 2 sqrt(2 ln 64) / 15 of the deviation, its error 1 / sqrt(12) of it: 2.884 * 2 / 15 / 3.464.
TEST(ExpectedError, OfIntegersFollowsFromBitsAndGroup) {
  EXPECT_NEAR(expected_error({.data_type = "int", .bits = 4, .group_size = 32}, 128), 0.1110, 1e-4);
  EXPECT_NEAR(expected_error({.data_type = "int", .bits = 8, .group_size = 32}, 128), 0.00653, 1e-5);
  EXPECT_EQ(expected_error({.data_type = "int", .bits = 4, .group_size = -1}, 32),
            expected_error({.data_type = "int", .bits = 4, .group_size = 32}, 128));
  EXPECT_EQ(expected_error({.data_type = "int", .bits = 16}, 128), 0.0);
}

TEST(ExpectedError, OfFloatsFollowsFromTheMantissa) {
  EXPECT_NEAR(expected_error({.data_type = "mx_fp", .bits = 4, .group_size = 32}, 128), 0.5 / std::sqrt(12.0), 1e-9);
  EXPECT_NEAR(expected_error({.data_type = "fp", .bits = 8, .group_size = 0}, 128), 0.125 / std::sqrt(12.0), 1e-9);
  EXPECT_NEAR(expected_error({.data_type = "fp8_e5m2", .bits = 8}, 128), 0.25 / std::sqrt(12.0), 1e-9);
}

TEST(JsonNumbers, AreKeptAsTheyAreSpelled) {
  const auto numbers =
      json_numbers(R"({"a": 1, "b": [0.0, -Infinity, {"c": 1e-300}], "d": {"e, :{": 2, "f": "3"}, "a": NaN})");
  EXPECT_EQ(numbers.at("a"), "NaN") << "the last of two equal keys counts";
  EXPECT_EQ(numbers.at("b[1]"), "-Infinity");
  EXPECT_EQ(numbers.at("b[2].c"), "1e-300");
  EXPECT_EQ(numbers.at("d.e, :{"), "2");
  EXPECT_EQ(numbers.size(), 5U);
}

TEST(JsonNumbers, AreTheSameWhereAReaderOfBigIntegersSeesNoDifference) {
  EXPECT_TRUE(same_number("1e-300", "0.1e-299"));
  EXPECT_TRUE(same_number("NaN", "NaN"));
  EXPECT_TRUE(same_number("10000", "10000.0"));
  EXPECT_FALSE(same_number("123456789012345678901234567890", "1.2345678901234568e+29"));
  EXPECT_FALSE(same_number("123456789012345678901", "123456789012345678902"));
  EXPECT_FALSE(same_number("Infinity", "1e308"));
}

// Codes 0 to 15, zero point 8, a step of 0.5: [-4, 3.5].
class Codes : public ::testing::Test {
 protected:
  const TensorQuant quant{.data_type = "int", .bits = 4, .group_size = 16};
  const Scheme& scheme = testing::registry().scheme_for("int");

  [[nodiscard]] CodeFigures figures(const at::Tensor& weight, const at::Tensor& codes,
                                    double reach = kUsualReach) const {
    QuantizedWeight quantized{
        .codes = codes.to(at::kByte), .scale = at::full({1, 1}, 0.5), .zero_point = {}, .global_scale = {}};
    return code_figures(weight, quantized, quant, scheme, reach).value();
  }
  [[nodiscard]] static at::Tensor some_weight() { return at::arange(16, at::kFloat).sub(8).mul(0.4).unsqueeze(0); }
  [[nodiscard]] static at::Tensor nearest(const at::Tensor& weight) {
    return weight.div(0.5).round().add(8).clamp(0, 15);
  }
};

TEST_F(Codes, NearestAndNeighboursAreNoStrays) {
  const at::Tensor weight = some_weight(), codes = nearest(weight);
  EXPECT_EQ(figures(weight, codes).strays, 0.0);
  const at::Tensor moved = at::where(weight.gt(codes.sub(8).mul(0.5)), codes + 1, codes);
  EXPECT_EQ(figures(weight, codes, 0.0).strays, 0.0);
  EXPECT_GT(figures(weight, moved, 0.0).strays, 0.0);
  EXPECT_EQ(figures(weight, moved).strays, 0.0);
}

TEST_F(Codes, TwoStepsAwayIsAStray) {
  const at::Tensor weight = some_weight();
  at::Tensor codes = nearest(weight);
  codes[0][5] += 2;
  EXPECT_NEAR(figures(weight, codes).strays, 1.0 / 16.0, 1e-6);
}

TEST_F(Codes, TheLastCodeStandsForEverythingBeyondIt) {
  at::Tensor weight = some_weight();
  weight[0][0] = -40.0;
  weight[0][15] = 40.0;
  EXPECT_EQ(figures(weight, nearest(weight)).strays, 0.0);
  at::Tensor codes = nearest(weight);
  codes[0][15] = 0;  // the other end
  EXPECT_GT(figures(weight, codes).strays, 0.0);
}

TEST_F(Codes, AFlippedGroupIsWorseThanZeros) {
  const at::Tensor weight = some_weight();
  EXPECT_EQ(figures(weight, nearest(weight)).worse_groups, 0.0);
  EXPECT_EQ(figures(weight, 16 - nearest(weight)).worse_groups, 1.0);
  EXPECT_EQ(worse_than_zeros(weight, at::zeros_like(weight), 16), 0.0);
}

}  // namespace
}  // namespace arkit
