#include "util/finite.h"

#include <limits>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "io_testing.h"

namespace arkit {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

class FiniteDtypes : public ::testing::TestWithParam<at::ScalarType> {};

TEST_P(FiniteDtypes, FindsTheFirstBadElementAnywhere) {
  constexpr int64_t kRows = 300, kColumns = 4099;  // several chunks, several threads, a ragged end
  at::Tensor w = at::zeros({kRows, kColumns}, GetParam());
  w[0][0] = 65504.0;  // the largest half
  EXPECT_EQ(testing::error_of([&] { io::check_finite(w, "w"); }), "");
  for (const auto& [row, column] : {std::pair<int64_t, int64_t>{299, 4098}, {150, 7}, {0, 4096}, {0, 1}}) {
    w[row][column] = row == 150 ? kNaN : -kInf;
    EXPECT_ERROR(io::check_finite(w, "model.w"), "input",
                 "tensor 'model.w': element [" + std::to_string(row) + ", " + std::to_string(column) + "] is " +
                     (row == 150 ? "nan" : "-inf"));
  }
}

INSTANTIATE_TEST_SUITE_P(All, FiniteDtypes, ::testing::Values(at::kBFloat16, at::kHalf, at::kFloat, at::kDouble));

TEST(Finite, LooksThroughStridesAndIgnoresIntegers) {
  const at::Tensor w = at::tensor({1.0F, 2.0F, 3.0F, 4.0F}).view({2, 2}).clone();
  w[0][1] = kNaN;
  EXPECT_ERROR(io::check_finite(w.t(), "w"), "input", "element [1, 0] is nan");
  EXPECT_EQ(testing::error_of([&] { io::check_finite(at::full({4}, 0x7FFF, at::kShort), "w"); }), "");
  EXPECT_EQ(testing::error_of([&] { io::check_finite(at::empty({0, 3}), "w"); }), "");
}

}  // namespace
}  // namespace arkit
