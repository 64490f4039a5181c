// What counts as the same numbers, by hand.
#include "convert/grid.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace arkit {
namespace {

constexpr TensorQuant kInt4{.bits = 4, .group_size = 2};

// Two rows, two groups of two inputs each.
QuantizedWeight weight() {
  QuantizedWeight w;
  w.codes = at::tensor({1, 2, 3, 4, 5, 6, 7, 8}, at::kByte).reshape({2, 4});
  w.scale = at::tensor({0.5, 0.25, -0.125, 1.0}, at::kFloat).to(at::kHalf).reshape({2, 2});
  w.zero_point = at::tensor({8.0, 7.0, 6.0, 5.0}, at::kFloat).reshape({2, 2});
  return w;
}

TEST(Grid, AWeightEqualsItself) {
  const GridDifference d = compare_grids(weight(), weight(), kInt4);
  EXPECT_TRUE(d.exact());
  EXPECT_EQ(d.words(), "");
  EXPECT_EQ(d.weights, 8);
  EXPECT_EQ(d.groups, 4);
}

TEST(Grid, TheMiddleNeedsNoZeroPoints) {
  QuantizedWeight a = weight(), b = weight();
  a.zero_point = at::full({2, 2}, 8.0);
  b.zero_point = at::Tensor();
  EXPECT_TRUE(compare_grids(a, b, kInt4).exact());
  a.zero_point[0][0] = 7.0;
  EXPECT_NE(compare_grids(a, b, kInt4).broken.find("1 of 4 groups"), std::string::npos);
}

TEST(Grid, ACodeMayMoveWithItsZeroPoint) {
  QuantizedWeight moved = weight();
  moved.zero_point[0][1] += 1;
  EXPECT_FALSE(compare_grids(weight(), moved, kInt4).exact());
  moved.codes[0][2] += 1;
  EXPECT_FALSE(compare_grids(weight(), moved, kInt4).exact()) << "the other code of the group stayed";
  moved.codes[0][3] += 1;
  const GridDifference d = compare_grids(weight(), moved, kInt4);
  EXPECT_TRUE(d.exact()) << d.words();
  EXPECT_EQ(d.moved_groups, 1);
}

TEST(Grid, AChangedCodeIsNoRounding) {
  QuantizedWeight changed = weight();
  changed.codes[1][3] = 9;
  EXPECT_NE(compare_grids(weight(), changed, kInt4).broken, "");
}

TEST(Grid, ScalesAreComparedByValue) {
  QuantizedWeight other = weight();
  other.scale = other.scale.to(at::kBFloat16);
  EXPECT_TRUE(compare_grids(weight(), other, kInt4).exact()) << "the same numbers in another type";
  QuantizedWeight fine = weight();
  fine.scale = fine.scale.to(at::kFloat).mul(1.0001);
  const GridDifference d = compare_grids(fine, weight(), kInt4);
  EXPECT_TRUE(d.broken.empty());
  EXPECT_EQ(d.rounded_scales, 4);
  EXPECT_NEAR(d.max_scale, 1e-4, 1e-6);
  EXPECT_NE(d.words().find("4 of 4 scales would be rounded"), std::string::npos);
  fine.scale[0][0] = 1e6;
  EXPECT_NE(compare_grids(
                fine,
                [&] {
                  QuantizedWeight w = fine;
                  w.scale = w.scale.to(at::kHalf);
                  return w;
                }(),
                kInt4)
                .broken,
            "")
      << "an infinite scale is no rounding";
}

TEST(Grid, ScatteredGroupsMustStay) {
  QuantizedWeight scattered = weight();
  scattered.group_index = at::tensor({1, 0, 1, 0}, at::kInt);
  EXPECT_TRUE(compare_grids(scattered, scattered, kInt4).exact());
  EXPECT_NE(compare_grids(scattered, weight(), kInt4).broken.find("act order"), std::string::npos);
  EXPECT_NE(compare_grids(weight(), scattered, kInt4).broken, "");
  // A zero point moves with the codes of its own inputs, wherever they lie.
  QuantizedWeight moved = scattered;
  moved.codes = moved.codes.clone();
  moved.zero_point = moved.zero_point.clone();
  moved.zero_point[0][0] += 1;
  moved.codes[0][1] += 1;
  moved.codes[0][3] += 1;
  EXPECT_TRUE(compare_grids(scattered, moved, kInt4).exact());
}

TEST(Grid, AnOffsetThatIsNotTheZeroPointsIsRounding) {
  QuantizedWeight rounded = weight();
  // -0.5 * 8, -0.25 * 7, 0.125 * 6, -1 * 5: the last one 0.01 off.
  rounded.offset = at::tensor({-4.0, -1.75, 0.75, -5.01}, at::kFloat).reshape({2, 2});
  const GridDifference d = compare_grids(weight(), rounded, kInt4);
  EXPECT_TRUE(d.broken.empty());
  EXPECT_EQ(d.rounded_offsets, 1);
  EXPECT_NEAR(d.max_offset, 0.01, 1e-5);
  EXPECT_FALSE(d.exact());
  EXPECT_TRUE(compare_grids(rounded, rounded, kInt4).exact());
}

TEST(Grid, FractionalZeroPointsAreNamed) {
  QuantizedWeight fraction = weight(), whole = weight();
  fraction.zero_point[0][0] = 7.5;
  EXPECT_NE(compare_grids(fraction, whole, kInt4).broken.find("whole numbers"), std::string::npos);
  EXPECT_TRUE(compare_grids(fraction, fraction, kInt4).exact());
}

}  // namespace
}  // namespace arkit
