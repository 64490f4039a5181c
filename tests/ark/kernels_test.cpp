// The kernels of the ark backend: every set against the plain one, bit for bit, and the plain one against what it says.
#include <array>
#include <cstring>
#include <limits>
#include <string>

#include <gtest/gtest.h>

#include <arkit/sdk/backend.h>

#include "ark/ark_testing.h"
#include "ark/emulated_tiles.h"

namespace arkit::ark::tests {
namespace {

struct Set {
  const Kernels* kernels;
  bool here;
};

std::vector<Set> sets() {
  std::vector<Set> all{{&kernels_ref, true}};
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  all.push_back({&kernels_avx2, avx2});
  all.push_back({&kernels_avx_vnni, avx2 && __builtin_cpu_supports("avxvnni")});
  all.push_back({&kernels_avx512_vnni, __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw")});
#endif
  return all;
}

const Shape kShapes[] = {
    {2, 96, 256, 64},
    {3, 70, 256, 64},
    {4, 96, 256, 64},
    {5, 64, 256, 128},
    {6, 33, 192, 64},
    {7, 64, 256, 32},
    {8, 65, 256, 64},
    {4, 128, 512, 128, true},
    {2, 64, 256, 32, true},
    {8, 64, 256, 64, true},
    {3, 64, 96, 24, true},
    {4, 64, 576, -1},
    {8, 64, 576, -1},
    {8, 64, 200, -1},
    {4, 1, 1, 1},
    {4, 5, 100, 48},
    {4, 64, 64, 16, false, false, true},
    {4, 64, 256, 32, false, false, true, ScaleType::bfloat16},
    {4, 64, 256, 32, false, true, false, ScaleType::float32},
    {5, 64, 160, 40, true, true, false, ScaleType::float32},
    {6, 64, 7, -1, true},
};

class KernelSets : public testing::TestWithParam<Set> {
 protected:
  void SetUp() override {
    if (!GetParam().here) GTEST_SKIP() << "needs a CPU with " << GetParam().kernels->name;
  }
};

TEST_P(KernelSets, EqualTheReferenceInEveryBit) {
  const Kernels& kernels = *GetParam().kernels;
  for (const Shape& shape : kShapes) {
    SCOPED_TRACE(testing::Message() << shape.bits << " bits, " << shape.out << "x" << shape.in << ", groups of "
                                    << shape.group);
    const Layer layer(shape, 1);
    const PackedWeight weight(layer.view(), "layer");
    const std::vector<float> x = random_rows(15, shape.in, 2);
    const Rows expected(kernels_ref, weight.blocks(), x), rows(kernels, weight.blocks(), x);
    EXPECT_EQ(rows.codes, expected.codes);
    EXPECT_EQ(rows.sums, expected.sums);
    EXPECT_EQ(rows.scales, expected.scales);
    const std::vector<float> y = product(kernels_ref, weight, expected, 15);
    for (const int64_t count : {1, 2, 3, 4, 5, 7, 8, 13, 15}) {
      const std::vector<float> got = product(kernels, weight, rows, count);
      ASSERT_EQ(std::memcmp(got.data(), y.data(), got.size() * sizeof(float)), 0) << count << " rows";
    }
  }
}

#if defined(__x86_64__)
// Blocks of less than a tile, of one and of more; rows of less than a tile, of one and of more.
TEST(AmxTiles, EmulatedEqualTheReferenceInEveryBit) {
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) GTEST_SKIP() << "needs a CPU with avx2";
  Kernels emulated = kernels_ref;
  emulated.multiply = multiply_emulated;
  for (const Shape& shape : kShapes) {
    SCOPED_TRACE(testing::Message() << shape.bits << " bits, " << shape.out << "x" << shape.in << ", groups of "
                                    << shape.group);
    const Layer layer(shape, 1);
    const PackedWeight weight(layer.view(), "layer");
    const Rows rows(kernels_ref, weight.blocks(), random_rows(35, shape.in, 2));
    for (const int64_t count : {1, 16, 35}) {
      const auto expected = product(kernels_ref, weight, rows, count), got = product(emulated, weight, rows, count);
      ASSERT_EQ(std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)), 0) << count << " rows";
    }
  }
}
#endif

const Shape kFloatShapes[] = {
    {.bits = 8, .out = 96, .in = 576, .group = -1, .scales = ScaleType::float32, .kind = CodeKind::e4m3},
    {.bits = 8, .out = 65, .in = 256, .group = 32, .scales = ScaleType::bfloat16, .kind = CodeKind::e4m3},
    {.bits = 8, .out = 64, .in = 200, .group = 128, .scales = ScaleType::float32, .kind = CodeKind::e5m2},
};

// Every scheme has its product with x as it is.
TEST_P(KernelSets, EqualTheReferenceWithFloats) {
  const Kernels& kernels = *GetParam().kernels;
  std::vector<Shape> shapes(std::begin(kShapes), std::end(kShapes));
  shapes.insert(shapes.end(), std::begin(kFloatShapes), std::end(kFloatShapes));
  for (const Shape& shape : shapes) {
    SCOPED_TRACE(testing::Message() << shape.bits << " bits, " << shape.out << "x" << shape.in << ", groups of "
                                    << shape.group << ", kind " << static_cast<int>(shape.kind));
    const Layer layer(shape, 1);
    const PackedWeight weight(layer.view(), "layer");
    const std::vector<float> x = random_rows(15, shape.in, 2);
    const FloatRows rows(weight.blocks(), x);
    const std::vector<float> y = product(kernels_ref, weight, rows, 15);
    for (const int64_t count : {1, 2, 4, 5, 13, 15}) {
      const std::vector<float> got = product(kernels, weight, rows, count);
      ASSERT_EQ(std::memcmp(got.data(), y.data(), got.size() * sizeof(float)), 0) << count << " rows";
    }
    for (int64_t n = 0; n < shape.out; n += 7) {
      double sum = 0, size = 0;
      for (int64_t k = 0; k < shape.in; ++k) {
        const double product = layer.weight(n, k) * x[static_cast<size_t>(k)];
        sum += product;
        size += std::abs(product);
      }
      ASSERT_NEAR(y[static_cast<size_t>(n)], sum, 2e-6 * size + 1e-30) << "row " << n;
    }
  }
}

TEST(Float8Weights, WithoutAFiniteNumberAreRefused) {
  for (const auto& [kind, code] : {std::pair(CodeKind::e4m3, 0xFF), std::pair(CodeKind::e5m2, 0x7C)}) {
    Layer layer({.bits = 8, .out = 2, .in = 32, .group = -1, .kind = kind}, 1);
    layer.codes[40] = static_cast<uint8_t>(code);
    EXPECT_THROW(PackedWeight(layer.view(), "layer"), sdk::BackendError);
  }
}

// Lengths that do not fill a vector; values with no neighbour in the middle of two codes; zero, tiny, huge, no numbers.
TEST_P(KernelSets, QuantizeAlikeAtTheEdges) {
  const Kernels& kernels = *GetParam().kernels;
  const float infinity = std::numeric_limits<float>::infinity(), nan = std::nanf("");
  for (const int32_t block : {4, 8, 12, 16, 20, 28, 64, 100, 128}) {
    for (const float odd : {0.0F, 1e-38F, 9e-31F, 1.1e-30F, 3e38F, -3.4e38F, infinity, -infinity, nan}) {
      std::vector<float> x = random_rows(3, block, static_cast<uint32_t>(block));
      for (float& value : x) value = odd == 0 || std::abs(odd) < 1e-20F ? odd : std::round(value * 4) / 2;
      x[static_cast<size_t>(block)] = odd;
      const int32_t levels = std::array{kMostLevels, kLevelsOfE2m1, kPowerOfTwo}[static_cast<size_t>(block / 4 % 3)];
      std::vector<int8_t> codes[2];
      std::vector<float> scales[2];
      std::vector<int32_t> sums[2];
      for (const int i : {0, 1}) {
        codes[i].assign(x.size() + 1, 77);
        scales[i].resize(3);
        sums[i].resize(3);
        (i == 0 ? kernels_ref : kernels)
            .quantize(x.data(), 3, block, levels, codes[i].data(), scales[i].data(), sums[i].data());
      }
      EXPECT_EQ(codes[0], codes[1]) << block << " of " << odd;
      EXPECT_EQ(sums[0], sums[1]) << block << " of " << odd;
      EXPECT_EQ(std::memcmp(scales[0].data(), scales[1].data(), 12), 0) << block << " of " << odd;
      if (!std::isfinite(odd)) {
        EXPECT_TRUE(std::isnan(scales[1][1]));
      }
    }
  }
}

TEST_P(KernelSets, FinishAlike) {
  const std::vector<float> sums = random_rows(1, 64, 1), bias = random_rows(1, 64, 2), before = random_rows(1, 65, 3);
  for (const int64_t count : {1, 7, 16, 33, 64})
    for (const float* added : {static_cast<const float*>(nullptr), bias.data()})
      for (const bool add : {false, true}) {
        std::vector<float> expected = before, got = before;
        kernels_ref.finish(sums.data(), count, {added, 0.37F, 0.7F, add}, expected.data());
        GetParam().kernels->finish(sums.data(), count, {added, 0.37F, 0.7F, add}, got.data());
        EXPECT_EQ(got, expected) << count;
        EXPECT_EQ(got.back(), before.back());
        const float value = sums[0] * 0.37F + (added == nullptr ? 0.0F : bias[0]);
        EXPECT_NEAR(expected[0], add ? before[0] + 0.7F * value : value, 1e-6);
      }
}

// Inputs that somebody has rounded to a grid of few steps are not rounded again.
TEST_P(KernelSets, MeetGridsExactly) {
  const Kernels& kernels = *GetParam().kernels;
  constexpr float kE2m1[] = {0, 0.5F, 1, 1.5F, 2, 3, 4, 6};
  std::mt19937 random(5);
  for (int repeat = 0; repeat < 50; ++repeat) {
    const uint32_t most = 1 + random() % 7;  // the greatest of the block, as its place in the grid
    const float unit = static_cast<float>(1 + random() % 1000) * 0.37e-3F,
                power = std::ldexp(1.0F, static_cast<int>(random() % 40) - 20);
    std::vector<float> floats(32), steps(32);
    for (size_t k = 0; k < 32; ++k) {
      const uint32_t at = k == 7 ? most : random() % (most + 1);
      const float sign = random() % 2 == 0 ? 1.0F : -1.0F;
      floats[k] = sign * kE2m1[at] * unit;
      steps[k] = sign * static_cast<float>(at) * power;
    }
    for (const auto& [x, levels] : {std::pair(floats, kLevelsOfE2m1), std::pair(steps, kPowerOfTwo)}) {
      int8_t codes[32];
      float scale = 0;
      int32_t sum = 0;
      kernels.quantize(x.data(), 1, 32, levels, codes, &scale, &sum);
      for (size_t k = 0; k < 32; ++k)
        EXPECT_NEAR(static_cast<float>(codes[k]) * scale, x[k], std::abs(x[k]) * 2e-7) << levels;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, KernelSets, testing::ValuesIn(sets()),
                         [](const auto& info) { return std::string(info.param.kernels->name); });

// The reference against doubles over the same rounded activations.
TEST(ArkReference, IsTheProductItSaysItIs) {
  for (const Shape& shape : kShapes) {
    SCOPED_TRACE(testing::Message() << shape.bits << " bits, " << shape.out << "x" << shape.in << ", groups of "
                                    << shape.group);
    const Layer layer(shape, 3);
    const PackedWeight weight(layer.view(), "layer");
    const Blocks& blocks = weight.blocks();
    const std::vector<float> x = random_rows(2, shape.in, 4);
    const Rows rows(kernels_ref, blocks, x);
    const std::vector<float> y = product(kernels_ref, weight, rows, 2);
    for (int64_t m = 0; m < 2; ++m)
      for (int64_t n = 0; n < shape.out; ++n) {
        double expected = 0, size = 0;
        for (int64_t k = 0; k < shape.in; ++k) {
          const int64_t at = k / blocks.group * blocks.blocks_a_group * blocks.block + k % blocks.group;
          const double value =
              rows.codes[static_cast<size_t>(m * blocks.depth() + at)] *
              static_cast<double>(rows.scales[static_cast<size_t>(m * blocks.blocks() + at / blocks.block)]);
          EXPECT_NEAR(value, x[static_cast<size_t>(m * shape.in + k)], 0.02) << "of an activation";
          expected += layer.weight(n, k) * value;
          size += std::abs(layer.weight(n, k) * value);
        }
        ASSERT_NEAR(y[static_cast<size_t>(m * weight.panels() * kPanel + n)], expected, 1e-5 * size) << "row " << n;
      }
  }
}

TEST(PackedWeight, ComesBackFromItsBytes) {
  const Layer layer({5, 70, 160, 40, true, true}, 5);
  const PackedWeight weight(layer.view(), "layer");
  const PackedWeight again(weight.bytes());
  EXPECT_TRUE(std::equal(weight.bytes().begin(), weight.bytes().end(), again.bytes().begin(), again.bytes().end()));
  const Rows rows(kernels_ref, weight.blocks(), random_rows(1, 160, 6));
  EXPECT_EQ(product(kernels_ref, weight, rows, 1), product(kernels_ref, again, rows, 1));
}

TEST(PackedWeight, RefusesBytesThatContradictThemselves) {
  const Layer layer({4, 64, 64, 32}, 7);
  const PackedWeight weight(layer.view(), "layer");
  std::vector<std::byte> bytes(weight.bytes().begin(), weight.bytes().end());
  for (const size_t length : {size_t{0}, size_t{8}, bytes.size() - 1})
    EXPECT_ANY_THROW(PackedWeight(std::span(bytes).first(length))) << length;
  for (size_t at = 0; at < 56; ++at) {  // every byte of the description before the table
    std::vector<std::byte> damaged = bytes;
    damaged[at] ^= std::byte{0x80};
    try {
      const PackedWeight kept(damaged);
      EXPECT_EQ(kept.bytes().size(), bytes.size());
    } catch (const std::exception&) {
    }
  }
}

TEST(PackedWeight, RefusesCodesAndZeroPointsThatDoNotFit) {
  Layer layer({4, 64, 64, 32, true}, 8);
  layer.codes[100] = 16;
  EXPECT_ANY_THROW(PackedWeight(layer.view(), "layer"));
  layer.codes[100] = 15;
  layer.zeros[3] = 2.5F;
  EXPECT_ANY_THROW(PackedWeight(layer.view(), "layer"));
  layer.zeros[3] = 256;
  EXPECT_ANY_THROW(PackedWeight(layer.view(), "layer"));
  layer.zeros[3] = 16;
  EXPECT_NO_THROW(PackedWeight(layer.view(), "layer"));
}

TEST(Blocks, FillUpAsLittleAsCanBe) {
  const auto of = [](int64_t in, int64_t group, int bits) {
    const Blocks blocks = Blocks::of(in, group, bits);
    return std::vector<int64_t>{blocks.groups, blocks.blocks_a_group, blocks.block};
  };
  EXPECT_EQ(of(4096, 128, 4), (std::vector<int64_t>{32, 1, 128}));
  EXPECT_EQ(of(4096, -1, 8), (std::vector<int64_t>{1, 32, 128}));
  EXPECT_EQ(of(576, -1, 4), (std::vector<int64_t>{1, 6, 96}));
  EXPECT_EQ(of(576, 64, 4), (std::vector<int64_t>{9, 1, 64}));
  EXPECT_EQ(of(64, 16, 4), (std::vector<int64_t>{4, 1, 16}));
  EXPECT_EQ(of(64, 16, 3), (std::vector<int64_t>{4, 1, 32}));
  EXPECT_EQ(of(100, 48, 4), (std::vector<int64_t>{3, 1, 48}));
  EXPECT_EQ(of(2048, 1024, 4), (std::vector<int64_t>{2, 8, 128}));
  EXPECT_EQ(of(3, -1, 2), (std::vector<int64_t>{1, 1, 16}));
}

}  // namespace
}  // namespace arkit::ark::tests
