#pragma once
// Attention over 8-bit keys and values on the vectors of one instruction set; see kernels_impl.h for Isa.

#include "byte_attention.h"
#include "exponential.h"
#include "kernels_impl.h"

namespace arkit::ark {
namespace {

// R rows of products of V vectors over `steps` times four bytes. lines(step, v) are the bytes of a vector, fours(row, step)
// the four of a row; which of the two is unsigned, Keys says.
template <class Isa, bool Keys, int R, int V, typename Lines, typename Four>
ARK_INLINE void byte_products(typename Isa::I (&sum)[R][V], int64_t steps, const Lines& lines, const Four& four) {
  for (int64_t step = 0; step < steps; ++step) {
    typename Isa::I line[V];
    unrolled<V>([&]<int J>(Number<J>) ARK_INLINE_LAMBDA { line[J] = Isa::load(lines(step, J)); });
    unrolled<R>([&]<int Row>(Number<Row>) ARK_INLINE_LAMBDA {
      const typename Isa::I own = Isa::broadcast(four(Row, step));
      unrolled<V>([&]<int J>(Number<J>) ARK_INLINE_LAMBDA {
        sum[Row][J] = Keys ? Isa::template dot<true>(sum[Row][J], line[J], own)
                           : Isa::template dot<true>(sum[Row][J], own, line[J]);
      });
    });
  }
}

// Scores of rows `r` .. r+R-1 for the keys of a tile.
template <class Isa, int R>
void byte_scores(const ByteAttention& a, const ByteStrips& keys, const ByteRows& rows, int64_t r) {
  constexpr int kAcross = kStrip / Isa::kRows;  // vectors a strip
  for (int first = 0; first < kByteTile / Isa::kRows; first += Isa::kTile) {
    typename Isa::I sum[R][Isa::kTile];
    tile<R, Isa::kTile>([&](int row, int v)
                            ARK_INLINE_LAMBDA { sum[row][v] = Isa::set(-128 * rows.query_sums[r + row]); });
    const uint8_t* at[Isa::kTile];
    for (int v = 0; v < Isa::kTile; ++v)
      at[v] = keys.of[(first + v) / kAcross] + (first + v) % kAcross * (4 * Isa::kRows);
    byte_products<Isa, true, R, Isa::kTile>(
        sum, a.dim / 4, [&](int64_t step, int v) ARK_INLINE_LAMBDA { return at[v] + step * (kStrip * 4); },
        [&](int row, int64_t step) ARK_INLINE_LAMBDA { return rows.queries + (r + row) * a.dim + step * 4; });
    for (int v = 0; v < Isa::kTile; ++v) {
      const auto scales = Isa::load(reinterpret_cast<const float*>(keys.of[(first + v) / kAcross] + kStrip * a.dim) +
                                    (first + v) % kAcross * Isa::kRows);
      for (int row = 0; row < R; ++row)
        Isa::store(rows.scores + (r + row) * kByteTile + (first + v) * Isa::kRows,
                   Isa::mul(Isa::mul(Isa::to_float(sum[row][v]), Isa::set(rows.query_scales[r + row])), scales));
    }
  }
}

// Adds what rows `r` .. r+R-1 take of the values of a tile, V vectors of channels from `channel` on.
template <class Isa, int R, int V>
void byte_values(const ByteAttention& a, const ByteStrips& values, const ByteRows& rows, int64_t r, int64_t channel) {
  typename Isa::I sum[R][V];
  tile<R, V>([&](int row, int v) ARK_INLINE_LAMBDA { sum[row][v] = Isa::zero(); });
  const auto lines = [&](int64_t step, int v) ARK_INLINE_LAMBDA {
    return values.of[step / (kStrip / 4)] + (step % (kStrip / 4) * a.dim + channel + v * Isa::kRows) * 4;
  };
  const auto* shares = reinterpret_cast<const int8_t*>(rows.shares) + r * 2 * kByteTile;
  byte_products<Isa, false, R, V>(sum, kByteTile / 4, lines, [&](int row, int64_t step) ARK_INLINE_LAMBDA {
    return shares + row * 2 * kByteTile + step * 4;
  });
  tile<R, V>([&](int row, int v) ARK_INLINE_LAMBDA { sum[row][v] = Isa::template left_of_four<8>(sum[row][v]); });
  byte_products<Isa, false, R, V>(sum, kByteTile / 4, lines, [&](int row, int64_t step) ARK_INLINE_LAMBDA {
    return shares + (row * 2 + 1) * kByteTile + step * 4;
  });
  for (int row = 0; row < R; ++row)
    for (int v = 0; v < V; ++v) {
      float* out = rows.out + (r + row) * a.dim + channel + v * Isa::kRows;
      Isa::store(out, Isa::fma(Isa::to_float(sum[row][v]), Isa::set(rows.share_scales[r + row]), Isa::load(out)));
    }
}

// Scores of a row become what it takes of each value.
template <class Isa>
void byte_shares(const ByteAttention& a, const ByteStrips& values, const ByteRows& rows, int64_t r, const Seen& seen) {
  using F = typename Isa::F;
  constexpr int kVectors = kByteTile / Isa::kRows, kAcross = kStrip / Isa::kRows;
  float* scores = rows.scores + r * kByteTile;
  uint8_t* shares = rows.shares + r * 2 * kByteTile;
  if (seen.since == seen.to) {
    for (int i = 0; i < 2 * kByteTile; ++i) shares[i] = 0;
    rows.share_scales[r] = 0.0F;
    return;
  }
  const auto fill = [&](float value) ARK_INLINE_LAMBDA {
    for (int64_t i = 0; i < seen.since; ++i) scores[i] = value;
    for (int64_t i = seen.to; i < kByteTile; ++i) scores[i] = value;
  };
  fill(-3e38F);
  F greatest = Isa::load(scores);
  for (int i = 1; i < kVectors; ++i) greatest = Isa::most(greatest, Isa::load(scores + i * Isa::kRows));
  const float now = Isa::most_of(greatest);
  if (now > rows.most[r]) {
    const float shrink = Isa::first_of(exponential<Isa>(Isa::set(rows.most[r] - now)));
    rows.sum[r] *= shrink;
    float* out = rows.out + r * a.dim;
    for (int64_t d = 0; d < a.dim; d += Isa::kRows) Isa::store(out + d, Isa::mul(Isa::load(out + d), Isa::set(shrink)));
    rows.most[r] = now;
  }
  const F most = Isa::set(rows.most[r]);
  for (int i = 0; i < kVectors; ++i)
    Isa::store(scores + i * Isa::kRows, exponential<Isa>(Isa::sub(Isa::load(scores + i * Isa::kRows), most)));
  fill(0.0F);
  F sums[kAcross];  // of every kStrip-th, added by halves
  for (int v = 0; v < kAcross; ++v) {
    sums[v] = Isa::load(scores + v * Isa::kRows);
    for (int s = 1; s < kByteTile / kStrip; ++s)
      sums[v] = Isa::add(sums[v], Isa::load(scores + s * kStrip + v * Isa::kRows));
  }
  F all = sums[0];
  if constexpr (kAcross == 2) all = Isa::add(sums[0], sums[1]);
  static_assert(kAcross <= 2);
  rows.sum[r] += Isa::total(all);
  for (int i = 0; i < kVectors; ++i) {
    const auto* scales = reinterpret_cast<const float*>(values.of[i / kAcross] + kStrip * a.dim);
    Isa::store(scores + i * Isa::kRows,
               Isa::mul(Isa::load(scores + i * Isa::kRows), Isa::load(scales + i % kAcross * Isa::kRows)));
  }
  fill(0.0F);  // what lies behind the last value is anything
  typename Isa::I bits = Isa::zero();
  for (int i = 0; i < kVectors; ++i) bits = Isa::greater(bits, Isa::magnitude(Isa::load(scores + i * Isa::kRows)));
  const float largest = Isa::greatest(bits);
  const bool counts = largest >= 1e-30F && largest <= 3.4028234e38F;
  rows.share_scales[r] = counts ? largest / 65535.0F : largest < 1e-30F ? 0.0F : __builtin_nanf("");
  const F inverse = Isa::set(counts ? 65535.0F / largest : 0.0F);
  for (int i = 0; i < kVectors; ++i) {
    const auto share = counts ? Isa::round(Isa::mul(Isa::load(scores + i * Isa::kRows), inverse)) : Isa::zero();
    Isa::store_bytes(shares + i * Isa::kRows, Isa::template right_of_four<8>(share));
    Isa::store_bytes(shares + kByteTile + i * Isa::kRows, Isa::both(share, 255));
  }
}

template <class Isa>
void attend_bytes(const ByteAttention& a) {
  const int64_t count = a.queries * a.heads;
  const ByteRows rows(a.scratch, count, a.dim);
  for (int64_t r = 0; r < count; ++r) {
    rows.most[r] = -3e38F;
    rows.sum[r] = 0.0F;
    quantize<Isa>(a.query + r / a.heads * a.stride + r % a.heads * a.dim, 1, static_cast<int32_t>(a.dim), kMostLevels,
                  rows.queries + r * a.dim, rows.query_scales + r, rows.query_sums + r);
    rows.query_scales[r] *= a.scale;
  }
  for (int64_t i = 0; i < count * a.dim; i += Isa::kRows) Isa::store(rows.out + i, Isa::zero_float());
  const auto passes = [&](const auto& body) ARK_INLINE_LAMBDA {  // of nearly equal height
    int64_t r = 0;
    for (int64_t left = (count + Isa::kBuffered - 1) / Isa::kBuffered; r < count; --left) {
      const int64_t some = (count - r + left - 1) / left;
      unrolled<Isa::kBuffered>([&]<int J>(Number<J>) ARK_INLINE_LAMBDA {
        if (some == J + 1) body(Number<J + 1>{}, r);
      });
      r += some;
    }
  };
  const int64_t end = a.first + a.queries;  // keys that any of them sees
  const int64_t begin = a.window == 0 || a.first < a.window ? 0 : a.first - a.window + 1;
  for (int64_t from = begin / kByteTile * kByteTile; from < end; from += kByteTile) {
    const ByteStrips keys(a, a.keys, from, end), values(a, a.values, from, end);
    passes([&]<int R>(Number<R>, int64_t r) ARK_INLINE_LAMBDA { byte_scores<Isa, R>(a, keys, rows, r); });
    for (int64_t r = 0; r < count; ++r) byte_shares<Isa>(a, values, rows, r, Seen(a, r, from));
    passes([&]<int R>(Number<R>, int64_t r) ARK_INLINE_LAMBDA {
      int64_t channel = 0;
      for (; channel + Isa::kTile * Isa::kRows <= a.dim; channel += Isa::kTile * Isa::kRows)
        byte_values<Isa, R, Isa::kTile>(a, values, rows, r, channel);
      for (; channel < a.dim; channel += Isa::kRows) byte_values<Isa, R, 1>(a, values, rows, r, channel);
    });
  }
  for (int64_t r = 0; r < count; ++r) {
    float* to = a.out + r / a.heads * a.stride + r % a.heads * a.dim;
    const auto share = Isa::set(1.0F / rows.sum[r]);
    for (int64_t d = 0; d < a.dim; d += Isa::kRows)
      Isa::store(to + d, Isa::mul(Isa::load(rows.out + r * a.dim + d), share));
  }
}

}  // namespace
}  // namespace arkit::ark
