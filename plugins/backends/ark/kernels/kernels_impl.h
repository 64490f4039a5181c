#pragma once
// The kernels once, over the vectors of one instruction set. Isa says:
//   I, F: as many bytes in fours and floats as it computes at once (kRows rows of W); functions on them, see avx2.h
//   kRows, kTile (vectors of rows of W), kDirect and kBuffered (rows of x): register tiles
// Included by one unit an instruction set, in an unnamed namespace.

#include "kernels.h"
#include "unroll.h"

namespace arkit::ark {
namespace {

template <int From, int To, int Width, class Isa>
ARK_INLINE typename Isa::I field(typename Isa::I line) {  // bits From.. of each byte to To..
  constexpr int kMask = ((1 << Width) - 1) << To;
  if constexpr (From > To) return Isa::band(Isa::template right<From - To>(line), kMask);
  if constexpr (From < To) return Isa::band(Isa::template left<To - From>(line), kMask);
  if constexpr (From == To) return Isa::band(line, kMask);
}

// The unsigned codes of k 4*J .. 4*J+3 of a step.
template <class Isa, int Bits, int J>
ARK_INLINE typename Isa::I codes_at(const uint8_t* strip) {
  if constexpr (Bits == 8) {
    return Isa::load(strip);
  } else {
    constexpr int kStep = step_of(Bits);
    constexpr int kAt2 = (Bits & 4) != 0 ? kStep / 8 : 0;
    constexpr int kAt1 = kAt2 + ((Bits & 2) != 0 ? kStep / 16 : 0);
    constexpr int kTo2 = (Bits & 4) != 0 ? 4 : 0;
    constexpr int kTo1 = kTo2 + ((Bits & 2) != 0 ? 2 : 0);
    typename Isa::I code = Isa::zero();
    if constexpr ((Bits & 4) != 0) code = field<J % 2 * 4, 0, 4, Isa>(Isa::load(strip + J / 2 * kLine));
    if constexpr ((Bits & 2) != 0) {
      const auto two = field<J % 4 * 2, kTo2, 2, Isa>(Isa::load(strip + (kAt2 + J / 4) * kLine));
      code = kTo2 == 0 ? two : Isa::bor(code, two);
    }
    if constexpr ((Bits & 1) != 0) code = Isa::bor(code, field<J, kTo1, 1, Isa>(Isa::load(strip + kAt1 * kLine)));
    return code;
  }
}

template <int N, typename Body>
ARK_INLINE void unrolled(Body&& body) {
  [&]<int... I>(Numbers<I...>) ARK_INLINE_LAMBDA {
    (body(Number<I>{}), ...);
  }
  (typename Upto<N>::type{});
}

// Every loop over a tile is unrolled, so that the tile's sums stay in registers.
template <int R, int V, typename Body>
ARK_INLINE void tile(Body&& body) {
  unrolled<R * V>([&]<int J>(Number<J>) ARK_INLINE_LAMBDA { body(J / V, J % V); });
}

// What a block's integer sums start from: the zero point times the codes of x.
template <class Isa>
ARK_INLINE typename Isa::I start(const Weight& weight, const uint8_t* zeros, int n, int32_t sum) {
  return zeros == nullptr ? Isa::set(-weight.zero * sum) : Isa::mul(Isa::widen(zeros + n), Isa::set(-sum));
}

template <class Isa>
ARK_INLINE typename Isa::F scales_at(const Weight& weight, int64_t at) {
  switch (weight.scale_type) {
    case ScaleType::float16:
      return Isa::from_float16(static_cast<const uint16_t*>(weight.scales) + at);
    case ScaleType::bfloat16:
      return Isa::from_bfloat16(static_cast<const uint16_t*>(weight.scales) + at);
    default:
      return Isa::load(static_cast<const float*>(weight.scales) + at);
  }
}

template <class Isa>
ARK_INLINE typename Isa::F added(typename Isa::I dot, typename Isa::F scale, const float* offsets, int32_t sum,
                                 float s_x, typename Isa::F y) {
  typename Isa::F product = Isa::mul(Isa::to_float(dot), scale);
  if (offsets != nullptr) product = Isa::fma(Isa::to_float(Isa::set(sum)), Isa::load(offsets), product);
  return Isa::fma(product, Isa::set(s_x), y);
}

// Rows `m` .. m+R-1 of x, the codes unpacked on the way. One panel.
template <class Isa, int Bits, bool Table, int R>
void direct(const Weight& weight, int64_t panel, const Activations& x, int64_t m, float* y) {
  constexpr int kStep = step_of(Bits), kStripBytes = lines_of(Bits) * kLine,
                kTile = R == 1 ? Isa::kTileOfOne : Isa::kTile;
  constexpr int kAcross = kLine / 4 / Isa::kRows;  // vectors a strip
  constexpr bool kWide = Bits == 8 || Table;
  const int64_t blocks = weight.groups * weight.blocks_a_group;
  const int64_t steps = weight.block / kStep;
  const int64_t depth = blocks * weight.block;
  for (int first = 0; first < kPanel / Isa::kRows; first += kTile) {
    typename Isa::F sum[R][kTile];
    tile<R, kTile>([&](int r, int v) ARK_INLINE_LAMBDA { sum[r][v] = Isa::zero_float(); });
    const uint8_t* step = weight.codes + panel * blocks * steps * kStrips * kStripBytes;
    int64_t b = 0;
    for (int64_t group = 0; group < weight.groups; ++group) {
      const int64_t at = (panel * weight.groups + group) * kPanel;
      const uint8_t* zeros = weight.zeros == nullptr ? nullptr : weight.zeros + at;
      for (const int64_t end = b + weight.blocks_a_group; b < end; ++b) {
        typename Isa::I dot[R][kTile];
        tile<R, kTile>([&](int r, int v) ARK_INLINE_LAMBDA {
          dot[r][v] = start<Isa>(weight, zeros, (first + v) * Isa::kRows, x.sums[(m + r) * blocks + b]);
        });
        const int8_t* codes = x.codes + m * depth + b * weight.block;
        for (int64_t s = 0; s < steps; ++s, step += kStrips * kStripBytes, codes += kStep) {
          unrolled<kTile>([&]<int V>(Number<V>) ARK_INLINE_LAMBDA {
            const int column = first + V;
            const uint8_t* strip = step + column / kAcross * kStripBytes + column % kAcross * (kLine / kAcross);
            unrolled<kStep / 4>([&]<int J>(Number<J>) ARK_INLINE_LAMBDA {
              typename Isa::I code = codes_at<Isa, Bits, J>(strip);
              if constexpr (Table) code = Isa::look_up(weight.table, code);
              unrolled<R>([&]<int Row>(Number<Row>) ARK_INLINE_LAMBDA {
                dot[Row][V] = Isa::template dot<kWide>(dot[Row][V], code, Isa::broadcast(codes + Row * depth + 4 * J));
              });
            });
          });
        }
        unrolled<kTile>([&]<int V>(Number<V>) ARK_INLINE_LAMBDA {
          const int n = (first + V) * Isa::kRows;
          const typename Isa::F scale = scales_at<Isa>(weight, at + n);
          const float* offsets = weight.offsets == nullptr ? nullptr : weight.offsets + at + n;
          unrolled<R>([&]<int Row>(Number<Row>) ARK_INLINE_LAMBDA {
            const int64_t row = (m + Row) * blocks + b;
            sum[Row][V] = added<Isa>(dot[Row][V], scale, offsets, x.sums[row], x.scales[row], sum[Row][V]);
          });
        });
      }
    }
    tile<R, kTile>([&](int r, int v)
                       ARK_INLINE_LAMBDA { Isa::store(y + r * kPanel + (first + v) * Isa::kRows, sum[r][v]); });
  }
}

// One block of a panel as bytes: [k / 4][row of W][4].
template <class Isa, int Bits, bool Table>
void unpack(const uint8_t* step, int64_t steps, const uint8_t* table, uint8_t* out) {
  constexpr int kStep = step_of(Bits), kStripBytes = lines_of(Bits) * kLine, kAcross = kLine / 4 / Isa::kRows;
  for (int64_t s = 0; s < steps; ++s, step += kStrips * kStripBytes, out += kStep * kPanel)
    for (int v = 0; v < kPanel / Isa::kRows; ++v)
      unrolled<kStep / 4>([&]<int J>(Number<J>) ARK_INLINE_LAMBDA {
        typename Isa::I code =
            codes_at<Isa, Bits, J>(step + v / kAcross * kStripBytes + v % kAcross * (kLine / kAcross));
        if constexpr (Table) code = Isa::look_up(table, code);
        Isa::store(out + J * 4 * kPanel + v * (4 * Isa::kRows), code);
      });
}

// The same rows from what `unpack` wrote, one block; added to y.
template <class Isa, bool Wide, int R>
void buffered(const Weight& weight, int64_t at, int64_t b, const uint8_t* bytes, const Activations& x, int64_t m,
              float* y) {
  const int64_t blocks = weight.groups * weight.blocks_a_group, depth = blocks * weight.block;
  const uint8_t* zeros = weight.zeros == nullptr ? nullptr : weight.zeros + at;
  for (int first = 0; first < kPanel / Isa::kRows; first += Isa::kTile) {
    typename Isa::I dot[R][Isa::kTile];
    tile<R, Isa::kTile>([&](int r, int v) ARK_INLINE_LAMBDA {
      dot[r][v] = start<Isa>(weight, zeros, (first + v) * Isa::kRows, x.sums[(m + r) * blocks + b]);
    });
    const int8_t* codes = x.codes + m * depth + b * weight.block;
    const uint8_t* line = bytes + first * (4 * Isa::kRows);
    for (int k = 0; k < weight.block; k += 4, codes += 4, line += 4 * kPanel)
      unrolled<R>([&]<int Row>(Number<Row>) ARK_INLINE_LAMBDA {
        const typename Isa::I four = Isa::broadcast(codes + Row * depth);
        unrolled<Isa::kTile>([&]<int V>(Number<V>) ARK_INLINE_LAMBDA {
          dot[Row][V] = Isa::template dot<Wide>(dot[Row][V], Isa::load(line + V * (4 * Isa::kRows)), four);
        });
      });
    unrolled<Isa::kTile>([&]<int V>(Number<V>) ARK_INLINE_LAMBDA {
      const int n = (first + V) * Isa::kRows;
      const typename Isa::F scale = scales_at<Isa>(weight, at + n);
      const float* offsets = weight.offsets == nullptr ? nullptr : weight.offsets + at + n;
      unrolled<R>([&]<int Row>(Number<Row>) ARK_INLINE_LAMBDA {
        const int64_t row = (m + Row) * blocks + b;
        float* out = y + (m + Row) * kPanel + n;
        Isa::store(out, added<Isa>(dot[Row][V], scale, offsets, x.sums[row], x.scales[row], Isa::load(out)));
      });
    });
  }
}

template <class Isa, bool Wide>
void rows_of_block(const Weight& weight, int64_t at, int64_t b, const uint8_t* bytes, const Activations& x,
                   int64_t rows, float* y) {
  int64_t m = 0;
  for (int64_t passes = (rows + Isa::kBuffered - 1) / Isa::kBuffered; m < rows; --passes) {
    const int64_t count = (rows - m + passes - 1) / passes;  // passes of nearly equal size
    unrolled<Isa::kBuffered>([&]<int J>(Number<J>) ARK_INLINE_LAMBDA {
      if (count == J + 1) buffered<Isa, Wide, J + 1>(weight, at, b, bytes, x, m, y);
    });
    m += count;
  }
}

template <class Isa, int Bits, bool Table>
void multiply_bits(const Weight& weight, int64_t panel, const Activations& x, int64_t rows, float* y,
                   uint8_t* scratch) {
  if (rows <= kFewRows) {
    int64_t m = 0;
    for (int64_t passes = (rows + Isa::kDirect - 1) / Isa::kDirect; m < rows; --passes) {
      const int64_t count = (rows - m + passes - 1) / passes;
      unrolled<Isa::kDirect>([&]<int J>(Number<J>) ARK_INLINE_LAMBDA {
        if (count == J + 1) direct<Isa, Bits, Table, J + 1>(weight, panel, x, m, y + m * kPanel);
      });
      m += count;
    }
    return;
  }
  for (int64_t i = 0; i < rows * kPanel; i += Isa::kRows) Isa::store(y + i, Isa::zero_float());
  const int64_t blocks = weight.groups * weight.blocks_a_group, steps = weight.block / step_of(Bits);
  constexpr int kStepBytes = kStrips * lines_of(Bits) * kLine;
  for (int64_t b = 0; b < blocks; ++b) {
    unpack<Isa, Bits, Table>(weight.codes + (panel * blocks + b) * steps * kStepBytes, steps, weight.table, scratch);
    rows_of_block<Isa, Bits == 8 || Table>(weight, (panel * weight.groups + b / weight.blocks_a_group) * kPanel, b,
                                           scratch, x, rows, y);
  }
}

template <class Isa>
void multiply(const Weight& weight, int64_t panel, const Activations& x, int64_t rows, float* y, uint8_t* scratch) {
  switch (weight.bits) {
    case 2:
      return multiply_bits<Isa, 2, false>(weight, panel, x, rows, y, scratch);
    case 3:
      return multiply_bits<Isa, 3, false>(weight, panel, x, rows, y, scratch);
    case 4:
      return weight.table == nullptr ? multiply_bits<Isa, 4, false>(weight, panel, x, rows, y, scratch)
                                     : multiply_bits<Isa, 4, true>(weight, panel, x, rows, y, scratch);
    case 5:
      return multiply_bits<Isa, 5, false>(weight, panel, x, rows, y, scratch);
    case 6:
      return multiply_bits<Isa, 6, false>(weight, panel, x, rows, y, scratch);
    case 7:
      return multiply_bits<Isa, 7, false>(weight, panel, x, rows, y, scratch);
    default:
      return multiply_bits<Isa, 8, false>(weight, panel, x, rows, y, scratch);
  }
}

template <class Isa>
void quantize(const float* x, int64_t blocks, int32_t block, int32_t levels, int8_t* codes, float* scales,
              int32_t* sums) {
  for (int64_t b = 0; b < blocks; ++b, x += block, codes += block) {
    typename Isa::I greatest = Isa::zero();
    for (int k = 0; k < block; k += Isa::kRows)
      greatest = Isa::greater(greatest, Isa::magnitude(Isa::load_some(x + k, block - k)));
    const float most = Isa::greatest(greatest);
    if (!(most >= 1e-30F && most <= 3.4028234e38F)) {
      scales[b] = most < 1e-30F ? 0.0F : __builtin_nanf("");
      sums[b] = 0;
      for (int k = 0; k < block; ++k) codes[k] = 0;
      continue;
    }
    float factor;
    if (levels == kPowerOfTwo) {
      uint32_t bits;  // of the power of two below `most`, which is normal
      __builtin_memcpy(&bits, &most, sizeof(bits));
      bits = (bits & 0x7F800000U) - (5U << 23);
      __builtin_memcpy(&scales[b], &bits, sizeof(bits));
      factor = 1.0F / scales[b];
    } else {
      scales[b] = most / static_cast<float>(levels);
      factor = static_cast<float>(levels) / most;
    }
    const typename Isa::F inverse = Isa::set(factor);
    typename Isa::I sum = Isa::zero();
    for (int k = 0; k < block; k += Isa::kRows) {
      const typename Isa::I rounded = Isa::round(Isa::mul(Isa::load_some(x + k, block - k), inverse));
      sum = Isa::add(sum, rounded);
      Isa::store_some(codes + k, rounded, block - k);
    }
    sums[b] = Isa::total(sum);
  }
}

template <class Isa>
void finish(const float* sums, int64_t count, const Finish& how, float* y) {
  using F = typename Isa::F;
  for (int64_t i = 0; i < count; i += Isa::kRows) {
    const int some = static_cast<int>(count - i < Isa::kRows ? count - i : Isa::kRows);
    const F bias = how.bias == nullptr ? Isa::zero_float() : Isa::load_floats(how.bias + i, some);
    F value = Isa::fma(Isa::load_floats(sums + i, some), Isa::set(how.factor), bias);
    if (how.add) value = Isa::fma(Isa::set(how.scale), value, Isa::load_floats(y + i, some));
    Isa::store_floats(y + i, value, some);
  }
}

}  // namespace
}  // namespace arkit::ark
