#pragma once
// Products of many rows on tiles of 16 rows by 64 bytes (AMX). Tiles says how they are loaded and multiplied: the
// processor's instructions, or plain C++ that does what they do, which is how this is tested where there are none:
//   configure(rows, rest)   from here on A has `rows` rows and B 16; their short forms A1 and B1 `rest` bytes and rest / 4 rows
//   zero<S>(), store<S>()   the sums of strip S, int32 [rows][16]
//   load_a<Short>(), multiply<S, Short>(b)   the signed bytes of A times the unsigned ones of B, added to the sums of S

#include "kernels_impl.h"

namespace arkit::ark {
namespace {

inline constexpr int kTileRows = 16;
inline constexpr int kTileBytes = 64;

template <class Isa, int Bits, bool Table>
void unpack_block(const Weight& weight, int64_t block, uint8_t* out) {
  const int64_t steps = weight.block / step_of(Bits);
  unpack<Isa, Bits, Table>(weight.codes + block * steps * kStrips * lines_of(Bits) * kLine, steps, weight.table, out);
}

template <class Isa>
void unpack_block(const Weight& weight, int64_t block, uint8_t* out) {
  switch (weight.bits) {
    case 2:
      return unpack_block<Isa, 2, false>(weight, block, out);
    case 3:
      return unpack_block<Isa, 3, false>(weight, block, out);
    case 4:
      return weight.table == nullptr ? unpack_block<Isa, 4, false>(weight, block, out)
                                     : unpack_block<Isa, 4, true>(weight, block, out);
    case 5:
      return unpack_block<Isa, 5, false>(weight, block, out);
    case 6:
      return unpack_block<Isa, 6, false>(weight, block, out);
    case 7:
      return unpack_block<Isa, 7, false>(weight, block, out);
    default:
      return unpack_block<Isa, 8, false>(weight, block, out);
  }
}

// What a block's integer sums [rows][kPanel] of rows `m` .. m+rows-1 give, added to y.
template <class Isa>
void add_sums(const Weight& weight, int64_t at, int64_t b, const int32_t* sums, const Activations& x, int64_t m,
              int64_t rows, float* y) {
  const int64_t blocks = weight.groups * weight.blocks_a_group;
  const uint8_t* zeros = weight.zeros == nullptr ? nullptr : weight.zeros + at;
  for (int n = 0; n < kPanel; n += Isa::kRows) {
    const typename Isa::F scale = scales_at<Isa>(weight, at + n);
    const float* offsets = weight.offsets == nullptr ? nullptr : weight.offsets + at + n;
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t of = (m + row) * blocks + b;
      const auto dot = Isa::add(Isa::load(reinterpret_cast<const uint8_t*>(sums + row * kPanel + n)),
                                start<Isa>(weight, zeros, n, x.sums[of]));
      float* out = y + (m + row) * kPanel + n;
      Isa::store(out, added<Isa>(dot, scale, offsets, x.sums[of], x.scales[of], Isa::load(out)));
    }
  }
}

template <class Isa, class Tiles>
void multiply_tiles(const Weight& weight, int64_t panel, const Activations& x, int64_t rows, float* y,
                    uint8_t* scratch) {
  alignas(64) int32_t sums[kTileRows * kPanel];
  const int64_t blocks = weight.groups * weight.blocks_a_group, depth = blocks * weight.block;
  const int whole = weight.block / kTileBytes, rest = weight.block % kTileBytes;
  for (int64_t i = 0; i < rows * kPanel; i += Isa::kRows) Isa::store(y + i, Isa::zero_float());
  Tiles tiles;
  for (int64_t b = 0; b < blocks; ++b) {
    unpack_block<Isa>(weight, panel * blocks + b, scratch);
    const int64_t at = (panel * weight.groups + b / weight.blocks_a_group) * kPanel;
    for (int64_t m = 0; m < rows; m += kTileRows) {
      const int some = static_cast<int>(rows - m < kTileRows ? rows - m : kTileRows);
      tiles.configure(some, rest);
      unrolled<kStrips>([&]<int S>(Number<S>) ARK_INLINE_LAMBDA { tiles.template zero<S>(); });
      const int8_t* codes = x.codes + m * depth + b * weight.block;
      const uint8_t* lines = scratch;  // [k / 4][row of W][4]
      for (int i = 0; i < whole; ++i, codes += kTileBytes, lines += kTileBytes * kPanel) {
        tiles.template load_a<false>(codes, depth);
        unrolled<kStrips>([&]<int S>(Number<S>)
                              ARK_INLINE_LAMBDA { tiles.template multiply<S, false>(lines + S * kLine); });
      }
      if (rest != 0) {
        tiles.template load_a<true>(codes, depth);
        unrolled<kStrips>([&]<int S>(Number<S>)
                              ARK_INLINE_LAMBDA { tiles.template multiply<S, true>(lines + S * kLine); });
      }
      unrolled<kStrips>([&]<int S>(Number<S>) ARK_INLINE_LAMBDA { tiles.template store<S>(sums + S * kTileRows); });
      add_sums<Isa>(weight, at, b, sums, x, m, some, y);
    }
  }
}

}  // namespace
}  // namespace arkit::ark
