// The kernels of plugins/backends/marlin on the emulator, and its layout against the formula it comes from.
#include "kernel_testing.h"
#include "marlin_kernels.h"

namespace arkit::cuda::tests {
namespace {

TileKernels kernels_for(const LayerCase& c, int size) {
  return tile_kernels("marlin_" + std::to_string(c.bits), "marlin", c, size, false);
}

// Every width, type and shape, with each group size and with rows, inputs and outputs that fit nothing.
TEST(Marlin, MultipliesAllShapes) {
  const int64_t groups[] = {32, 64, 128, -1};
  const int64_t sizes[][3] = {{1, 64, 64}, {3, 160, 70}, {16, 256, 128}, {17, 104, 130}, {70, 192, 200}};
  uint64_t seed = 0;
  for (const int bits : {4, 8})
    for (const bool half : {true, false})
      for (const int64_t group : groups)
        for (const auto& size : sizes)
          for (int shape = 0; shape < 3; ++shape) {
            if (shape != static_cast<int>((seed + static_cast<uint64_t>(size[0])) % 3) && size[0] != 3) {
              ++seed;
              continue;
            }
            LayerCase c;
            c.bits = bits;
            c.group = group;
            c.half = half;
            c.rows = size[0];
            c.inputs = size[1];
            c.outputs = size[2];
            c.parts = 1 + static_cast<int>(seed % 3);
            c.bias = seed % 2 == 0;
            c.seed = seed++ % 5;
            check_tiles(c, kernels_for(c, shape));
          }
}

TEST(Marlin, PutsActOrderFloatsAndOddInputsInOrder) {
  for (const bool half : {true, false})
    for (const int shape : {0, 1, 2}) {
      LayerCase c;
      c.half = half;
      c.group = 32;
      c.rows = 5;
      c.inputs = 96;
      c.outputs = 64;
      c.act_order = true;
      c.seed = 2;
      check_tiles(c, kernels_for(c, shape));
      c.act_order = false;
      c.inputs = 101;
      c.outputs = 67;
      c.bias = true;
      check_tiles(c, kernels_for(c, shape));
      if (half) continue;
      c.x_type = RowType::float32;  // in three parts
      c.parts = 2;
      check_tiles(c, kernels_for(c, shape));
    }
}

// A group that is no whole tile is filled up.
TEST(Marlin, FillsGroupsUpToTiles) {
  LayerCase c;
  c.group = 24;
  c.rows = 2;
  c.inputs = 120;
  check_tiles(c, kernels_for(c, 0));
}

// Whatever the order in which threads run: the same bits.
TEST(Marlin, DoesNotDependOnTheOrderOfThreads) {
  LayerCase c;
  c.rows = 20;
  c.inputs = 384;
  c.parts = 3;
  const RandomLayer layer(c);
  const auto first = run_tiles(c, layer, kernels_for(c, 2));
  for (uint64_t seed = 1; seed < 5; ++seed) {
    c.seed = seed;
    EXPECT_EQ(run_tiles(c, layer, kernels_for(c, 2)), first) << "order " << seed;
  }
}

// docs/spec/gpu-layouts.md 1, in its own words: what lane `th` and warp `w` of a tile hold, by nibble and by byte.
TEST(MarlinLayout, IsTheOneOfTheKernelsItIsNamedAfter) {
  constexpr int kInterleaved[] = {0, 2, 4, 6, 1, 3, 5, 7}, kRows[] = {0, 1, 8, 9};
  for (const int bits : {4, 8}) {
    LayerCase c;
    c.bits = bits;
    c.inputs = 64;
    c.outputs = 192;
    const RandomLayer layer(c);
    const TileWeight weight(layer.numbers);
    const auto code = [&](int k, int n) { return layer.numbers.codes[static_cast<size_t>(n * 64 + k)]; };
    ASSERT_EQ(weight.words.size(), static_cast<size_t>(64 / 16 * 192 * 16 * bits / 32));
    for (int tile_k = 0; tile_k < 4; ++tile_k)
      for (int tile_n = 0; tile_n < 3; ++tile_n)
        for (int th = 0; th < 32; ++th)
          for (int w = 0; w < 4; ++w) {
            unsigned v[8];
            for (int i = 0; i < 8; ++i)
              v[i] = code(16 * tile_k + 2 * (th % 4) + kRows[i % 4], 64 * tile_n + 16 * w + th / 4 + 8 * (i / 4));
            const uint32_t* tile = weight.words.data() + (tile_k * 3 + tile_n) * 32 * bits;
            if (bits == 4) {
              uint32_t word = 0;
              for (int i = 0; i < 8; ++i) word |= v[kInterleaved[i]] << (4 * i);
              EXPECT_EQ(tile[th * 4 + w], word);
            } else {
              EXPECT_EQ(tile[th * 8 + w * 2], v[0] | v[2] << 8 | v[1] << 16 | v[3] << 24);
              EXPECT_EQ(tile[th * 8 + w * 2 + 1], v[4] | v[6] << 8 | v[5] << 16 | v[7] << 24);
            }
          }
  }
}

TEST(MarlinLayout, PutsFactorsBesideTheAccumulatorsOfALane) {
  constexpr int kOfLane[] = {0, 1, 8, 9, 16, 17, 24, 25};
  for (int half = 0; half < 2; ++half)
    for (int i = 0; i < 4; ++i)
      for (int j = 0; j < 8; ++j) EXPECT_EQ(factor_spot(32 * half + 2 * i + kOfLane[j]), 32 * half + 8 * i + j);
}

}  // namespace
}  // namespace arkit::cuda::tests
