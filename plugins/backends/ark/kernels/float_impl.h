#pragma once
// Products of packed weights and float32 activations on the vectors of one instruction set; see kernels_impl.h for Isa.

#include "kernels_impl.h"

namespace arkit::ark {
namespace {

// Byte `Byte` of each four as what it stands for.
template <class Isa, CodeKind Kind, int Byte>
ARK_INLINE typename Isa::F value_of(typename Isa::I four, typename Isa::I zero) {
  using F = typename Isa::F;
  if constexpr (Kind == CodeKind::integer) {
    return Isa::to_float(Isa::sub(Isa::both(Isa::template right_of_four<8 * Byte>(four), 255), zero));
  } else {
    // As if the exponent had float32's bias: right from exponent 1 on. 2s less the smallest normal number is right for 0,
    // and the smaller of the two.
    constexpr int kMantissa = Kind == CodeKind::e4m3 ? 3 : 2, kBias = Kind == CodeKind::e4m3 ? 120 : 112;
    constexpr float kSmallest = Kind == CodeKind::e4m3 ? 0x1p-6F : 0x1p-14F;
    const auto top = Isa::template left_of_four<24 - 8 * Byte>(four);
    const F s = Isa::as_float(
        Isa::add(Isa::template right_of_four<kMantissa + 1>(Isa::both(top, 0x7F000000)), Isa::set(kBias << 23)));
    const F size = Isa::least(s, Isa::fma(s, Isa::set(2.0F), Isa::set(-kSmallest)));
    return Isa::as_float(Isa::bor(Isa::as_bits(size), Isa::both(top, static_cast<int32_t>(0x80000000U))));
  }
}

template <class Isa>
ARK_INLINE typename Isa::I zeros_at(const Weight& weight, int64_t at) {
  return weight.zeros == nullptr ? Isa::set(weight.zero) : Isa::widen(weight.zeros + at);
}

// y += what one block gives, from the sums over its k of V vectors of rows of W from `first` on.
template <class Isa, int R, int V>
ARK_INLINE void add_block(const Weight& weight, int64_t at, const float* sums, int64_t blocks, int first,
                          const typename Isa::F (&dot)[R][V], float* y) {
  unrolled<V>([&]<int J>(Number<J>) ARK_INLINE_LAMBDA {
    const int n = (first + J) * Isa::kRows;
    const typename Isa::F scale = scales_at<Isa>(weight, at + n);
    unrolled<R>([&]<int Row>(Number<Row>) ARK_INLINE_LAMBDA {
      float* out = y + Row * kPanel + n;
      typename Isa::F sum = Isa::fma(dot[Row][J], scale, Isa::load(out));
      if (weight.offsets != nullptr)
        sum = Isa::fma(Isa::set(sums[Row * blocks]), Isa::load(weight.offsets + at + n), sum);
      Isa::store(out, sum);
    });
  });
}

// One block of a panel, one row of x, the codes decoded in registers.
template <class Isa, CodeKind Kind, int Bits, bool Table>
void direct_floats(const Weight& weight, int64_t at, const uint8_t* block, const float* x, const float* sums,
                   float* y) {
  constexpr int kStep = step_of(Bits), kStripBytes = lines_of(Bits) * kLine, kAcross = kLine / 4 / Isa::kRows,
                kTile = Isa::kTile;
  for (int first = 0; first < kPanel / Isa::kRows; first += kTile) {
    typename Isa::F dot[1][kTile];
    tile<1, kTile>([&](int r, int v) ARK_INLINE_LAMBDA { dot[r][v] = Isa::zero_float(); });
    typename Isa::I zeros[kTile];
    for (int v = 0; v < kTile; ++v) zeros[v] = zeros_at<Isa>(weight, at + (first + v) * Isa::kRows);
    const uint8_t* step = block;
    for (int k = 0; k < weight.block; k += kStep, step += kStrips * kStripBytes)
      unrolled<kTile>([&]<int V>(Number<V>) ARK_INLINE_LAMBDA {
        const int column = first + V;
        const uint8_t* strip = step + column / kAcross * kStripBytes + column % kAcross * (kLine / kAcross);
        unrolled<kStep / 4>([&]<int J>(Number<J>) ARK_INLINE_LAMBDA {
          typename Isa::I code = codes_at<Isa, Bits, J>(strip);
          if constexpr (Table) code = Isa::look_up(weight.table, code);
          unrolled<4>([&]<int B>(Number<B>) ARK_INLINE_LAMBDA {
            const typename Isa::F w = value_of<Isa, Kind, B>(code, zeros[V]);
            dot[0][V] = Isa::fma(w, Isa::set(x[k + 4 * J + B]), dot[0][V]);
          });
        });
      });
    add_block<Isa, 1, kTile>(weight, at, sums, 0, first, dot, y);
  }
}

// One block of a panel as floats: [k][row of W].
template <class Isa, CodeKind Kind, int Bits, bool Table>
void unpack_floats(const Weight& weight, int64_t at, const uint8_t* step, float* out) {
  constexpr int kStep = step_of(Bits), kStripBytes = lines_of(Bits) * kLine, kAcross = kLine / 4 / Isa::kRows;
  for (int k = 0; k < weight.block; k += kStep, step += kStrips * kStripBytes, out += kStep * kPanel)
    for (int v = 0; v < kPanel / Isa::kRows; ++v) {
      const auto zero = zeros_at<Isa>(weight, at + v * Isa::kRows);
      unrolled<kStep / 4>([&]<int J>(Number<J>) ARK_INLINE_LAMBDA {
        typename Isa::I code =
            codes_at<Isa, Bits, J>(step + v / kAcross * kStripBytes + v % kAcross * (kLine / kAcross));
        if constexpr (Table) code = Isa::look_up(weight.table, code);
        unrolled<4>([&]<int B>(Number<B>) ARK_INLINE_LAMBDA {
          Isa::store(out + (4 * J + B) * kPanel + v * Isa::kRows, value_of<Isa, Kind, B>(code, zero));
        });
      });
    }
}

// R rows of x times what unpack_floats wrote.
template <class Isa, int R>
void buffered_floats(const Weight& weight, int64_t at, const float* values, const float* x, int64_t depth,
                     const float* sums, int64_t blocks, float* y) {
  for (int first = 0; first < kPanel / Isa::kRows; first += Isa::kTile) {
    typename Isa::F dot[R][Isa::kTile];
    tile<R, Isa::kTile>([&](int r, int v) ARK_INLINE_LAMBDA { dot[r][v] = Isa::zero_float(); });
    const float* line = values + first * Isa::kRows;
    for (int k = 0; k < weight.block; ++k, line += kPanel) {
      typename Isa::F w[Isa::kTile];
      unrolled<Isa::kTile>([&]<int V>(Number<V>) ARK_INLINE_LAMBDA { w[V] = Isa::load(line + V * Isa::kRows); });
      unrolled<R>([&]<int Row>(Number<Row>) ARK_INLINE_LAMBDA {
        const typename Isa::F own = Isa::set(x[Row * depth + k]);
        unrolled<Isa::kTile>([&]<int V>(Number<V>)
                                 ARK_INLINE_LAMBDA { dot[Row][V] = Isa::fma(w[V], own, dot[Row][V]); });
      });
    }
    add_block<Isa, R, Isa::kTile>(weight, at, sums, blocks, first, dot, y);
  }
}

template <class Isa>
void rows_of_floats(const Weight& weight, int64_t at, int64_t b, const float* values, const FloatActivations& x,
                    int64_t rows, float* y) {
  const int64_t blocks = weight.groups * weight.blocks_a_group, depth = blocks * weight.block;
  int64_t m = 0;
  for (int64_t passes = (rows + Isa::kBuffered - 1) / Isa::kBuffered; m < rows; --passes) {
    const int64_t count = (rows - m + passes - 1) / passes;  // passes of nearly equal size
    const float* from = x.x + m * depth + b * weight.block;
    const float* sums = x.sums + m * blocks + b;
    unrolled<Isa::kBuffered>([&]<int J>(Number<J>) ARK_INLINE_LAMBDA {
      if (count == J + 1) buffered_floats<Isa, J + 1>(weight, at, values, from, depth, sums, blocks, y + m * kPanel);
    });
    m += count;
  }
}

template <class Isa, CodeKind Kind, int Bits, bool Table>
void multiply_float_bits(const Weight& weight, int64_t panel, const FloatActivations& x, int64_t rows, float* y,
                         float* scratch) {
  constexpr int kStepBytes = kStrips * lines_of(Bits) * kLine;
  const int64_t blocks = weight.groups * weight.blocks_a_group;
  const int64_t block_bytes = weight.block / step_of(Bits) * kStepBytes;
  for (int64_t i = 0; i < rows * kPanel; i += Isa::kRows) Isa::store(y + i, Isa::zero_float());
  for (int64_t b = 0; b < blocks; ++b) {
    const uint8_t* block = weight.codes + (panel * blocks + b) * block_bytes;
    const int64_t at = (panel * weight.groups + b / weight.blocks_a_group) * kPanel;
    if (rows == 1) {
      direct_floats<Isa, Kind, Bits, Table>(weight, at, block, x.x + b * weight.block, x.sums + b, y);
      continue;
    }
    unpack_floats<Isa, Kind, Bits, Table>(weight, at, block, scratch);
    rows_of_floats<Isa>(weight, at, b, scratch, x, rows, y);
  }
}

template <class Isa>
void multiply_floats(const Weight& weight, int64_t panel, const FloatActivations& x, int64_t rows, float* y,
                     float* scratch) {
  constexpr auto kInteger = CodeKind::integer;
  if (weight.kind == CodeKind::e4m3)
    return multiply_float_bits<Isa, CodeKind::e4m3, 8, false>(weight, panel, x, rows, y, scratch);
  if (weight.kind == CodeKind::e5m2)
    return multiply_float_bits<Isa, CodeKind::e5m2, 8, false>(weight, panel, x, rows, y, scratch);
  switch (weight.bits) {
    case 2:
      return multiply_float_bits<Isa, kInteger, 2, false>(weight, panel, x, rows, y, scratch);
    case 3:
      return multiply_float_bits<Isa, kInteger, 3, false>(weight, panel, x, rows, y, scratch);
    case 4:
      return weight.table == nullptr ? multiply_float_bits<Isa, kInteger, 4, false>(weight, panel, x, rows, y, scratch)
                                     : multiply_float_bits<Isa, kInteger, 4, true>(weight, panel, x, rows, y, scratch);
    case 5:
      return multiply_float_bits<Isa, kInteger, 5, false>(weight, panel, x, rows, y, scratch);
    case 6:
      return multiply_float_bits<Isa, kInteger, 6, false>(weight, panel, x, rows, y, scratch);
    case 7:
      return multiply_float_bits<Isa, kInteger, 7, false>(weight, panel, x, rows, y, scratch);
    default:
      return multiply_float_bits<Isa, kInteger, 8, false>(weight, panel, x, rows, y, scratch);
  }
}

}  // namespace
}  // namespace arkit::ark
