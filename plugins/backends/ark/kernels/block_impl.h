#pragma once
// Block kernels over the vectors of one instruction set; see kernels_impl.h for Isa.

#include "block_kernels.h"
#include "exponential.h"
#include "unroll.h"

namespace arkit::ark {
namespace {

template <class Isa>
void rms_norm(const float* x, const float* weight, int64_t n, float epsilon, float offset, float* out) {
  using F = typename Isa::F;
  F squares = Isa::set(0.0F);
  int64_t i = 0;
  for (; i + Isa::kRows <= n; i += Isa::kRows) {
    const F v = Isa::load(x + i);
    squares = Isa::fma(v, v, squares);
  }
  float sum = Isa::total(squares);
  for (; i < n; ++i) sum += x[i] * x[i];
  const float factor = 1.0F / __builtin_sqrtf(sum / static_cast<float>(n) + epsilon);
  for (i = 0; i + Isa::kRows <= n; i += Isa::kRows)
    Isa::store(out + i, Isa::mul(Isa::mul(Isa::load(x + i), Isa::set(factor)),
                                 Isa::add(Isa::load(weight + i), Isa::set(offset))));
  for (; i < n; ++i) out[i] = x[i] * factor * (offset + weight[i]);
}

template <class Isa>
void rope(float* x, int64_t heads, int64_t dim, int64_t half, bool neighbours, const float* cos, const float* sin) {
  const int64_t step = neighbours ? 2 : 1, other = neighbours ? 1 : half;
  for (int64_t h = 0; h < heads; ++h, x += dim)
    for (int64_t i = 0; i < half; ++i) {
      float& first = x[i * step];
      float& second = x[i * step + other];
      const float a = first, b = second;
      first = a * cos[i] - b * sin[i];
      second = b * cos[i] + a * sin[i];
    }
}

// 0.5 x (1 + tanh(u)) = x / (1 + e^-2u).
template <class Isa>
void gated(Activation activation, const float* gate, const float* up, int64_t n, float* out) {
  using F = typename Isa::F;
  for (int64_t i = 0; i < n; i += Isa::kRows) {
    const int count = static_cast<int>(n - i < Isa::kRows ? n - i : Isa::kRows);
    const F x = Isa::load_floats(gate + i, count);
    F u = Isa::sub(Isa::set(0.0F), x);
    if (activation == Activation::gelu_tanh)  // -2 sqrt(2 / pi) (x + 0.044715 x^3)
      u = Isa::mul(Isa::mul(x, Isa::set(-1.59576912F)), Isa::fma(Isa::mul(x, x), Isa::set(0.044715F), Isa::set(1.0F)));
    const F y = Isa::div(x, Isa::add(Isa::set(1.0F), exponential<Isa>(u)));
    Isa::store_floats(out + i, Isa::mul(y, Isa::load_floats(up + i, count)), count);
  }
}

template <class Isa>
void add_scaled(const float* x, float scale, int64_t n, float* y) {
  int64_t i = 0;
  for (; i + Isa::kRows <= n; i += Isa::kRows)
    Isa::store(y + i, Isa::fma(Isa::load(x + i), Isa::set(scale), Isa::load(y + i)));
  for (; i < n; ++i) y[i] += scale * x[i];
}

// `count` keys or values from position `from` on as float32, [count][dim]; where they lie if they can be read there.
template <class Isa>
const float* rows_of(const CacheHead& cache, const void* pool, int64_t from, int64_t count, int64_t dim, float* to) {
  const int64_t slot = from % cache.page_size;
  if (cache.type == CacheType::float32 && slot + count <= cache.page_size)
    return static_cast<const float*>(pool) + cache.pages[from / cache.page_size] * cache.page_stride + slot * dim;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t p = from + i;
    const int64_t at = cache.pages[p / cache.page_size] * cache.page_stride + p % cache.page_size * dim;
    for (int64_t d = 0; d < dim; d += Isa::kRows)
      Isa::store(to + i * dim + d, cache.type == CacheType::float32
                                       ? Isa::load(static_cast<const float*>(pool) + at + d)
                                       : Isa::from_bfloat16(static_cast<const uint16_t*>(pool) + at + d));
  }
  return to;
}

// R queries against the keys of a tile, each key with all of its channels: best for few queries.
template <class Isa>
void scores_of_row(const float* query, const float* keys, int64_t count, int64_t dim, float scale, float* scores) {
  using F = typename Isa::F;
  for (int64_t i = 0; i < count; ++i) {
    F sum = Isa::set(0.0F);
    for (int64_t d = 0; d < dim; d += Isa::kRows)
      sum = Isa::fma(Isa::load(query + d), Isa::load(keys + i * dim + d), sum);
    scores[i] = Isa::total(sum) * scale;
  }
}

// Four queries against a transposed tile [dim][kKeyTile].
template <class Isa, int R>
void scores_of_tile(const float* const* queries, const float* turned, int64_t dim, float scale, float* const* scores) {
  using F = typename Isa::F;
  constexpr int kAcross = 4;
  for (int64_t first = 0; first < kKeyTile; first += kAcross * Isa::kRows) {
    F sum[R][kAcross];
    unrolled<R * kAcross>([&]<int J>(Number<J>) ARK_INLINE_LAMBDA { sum[J / kAcross][J % kAcross] = Isa::set(0.0F); });
    for (int64_t d = 0; d < dim; ++d) {
      F keys[kAcross];
      unrolled<kAcross>([&]<int V>(Number<V>)
                            ARK_INLINE_LAMBDA { keys[V] = Isa::load(turned + d * kKeyTile + first + V * Isa::kRows); });
      unrolled<R>([&]<int Row>(Number<Row>) ARK_INLINE_LAMBDA {
        const F q = Isa::set(queries[Row][d]);
        unrolled<kAcross>([&]<int V>(Number<V>) ARK_INLINE_LAMBDA { sum[Row][V] = Isa::fma(q, keys[V], sum[Row][V]); });
      });
    }
    unrolled<R * kAcross>([&]<int J>(Number<J>) ARK_INLINE_LAMBDA {
      Isa::store(scores[J / kAcross] + first + J % kAcross * Isa::kRows,
                 Isa::mul(sum[J / kAcross][J % kAcross], Isa::set(scale)));
    });
  }
}

// R rows of out += shares * values.
template <class Isa, int R>
void add_values(const float* const* shares, const float* values, int64_t count, int64_t dim, float* const* out) {
  using F = typename Isa::F;
  constexpr int kAcross = 4;
  for (int64_t first = 0; first < dim; first += kAcross * Isa::kRows) {
    const int across = static_cast<int>((dim - first) / Isa::kRows < kAcross ? (dim - first) / Isa::kRows : kAcross);
    if (across == kAcross) {
      F sum[R][kAcross];
      unrolled<R * kAcross>([&]<int J>(Number<J>) ARK_INLINE_LAMBDA {
        sum[J / kAcross][J % kAcross] = Isa::load(out[J / kAcross] + first + J % kAcross * Isa::kRows);
      });
      for (int64_t i = 0; i < count; ++i) {
        F value[kAcross];
        unrolled<kAcross>([&]<int V>(Number<V>)
                              ARK_INLINE_LAMBDA { value[V] = Isa::load(values + i * dim + first + V * Isa::kRows); });
        unrolled<R>([&]<int Row>(Number<Row>) ARK_INLINE_LAMBDA {
          const F share = Isa::set(shares[Row][i]);
          unrolled<kAcross>([&]<int V>(Number<V>)
                                ARK_INLINE_LAMBDA { sum[Row][V] = Isa::fma(share, value[V], sum[Row][V]); });
        });
      }
      unrolled<R * kAcross>([&]<int J>(Number<J>) ARK_INLINE_LAMBDA {
        Isa::store(out[J / kAcross] + first + J % kAcross * Isa::kRows, sum[J / kAcross][J % kAcross]);
      });
    } else {
      for (int v = 0; v < across; ++v)
        for (int r = 0; r < R; ++r) {
          float* to = out[r] + first + v * Isa::kRows;
          F sum = Isa::load(to);
          for (int64_t i = 0; i < count; ++i)
            sum = Isa::fma(Isa::set(shares[r][i]), Isa::load(values + i * dim + first + v * Isa::kRows), sum);
          Isa::store(to, sum);
        }
    }
  }
}

// Scores of keys [from, to) to shares e^(score - most), 0 outside; `most` and `sum` go on, `out` is scaled along.
template <class Isa>
void softmax_tile(float* scores, int64_t from, int64_t to, float* most, float* sum, float* out, int64_t dim) {
  using F = typename Isa::F;
  for (int64_t i = 0; i < from; ++i) scores[i] = -3e38F;
  for (int64_t i = to; i < kKeyTile; ++i) scores[i] = -3e38F;
  F greatest = Isa::load(scores);
  for (int64_t i = Isa::kRows; i < kKeyTile; i += Isa::kRows) greatest = Isa::most(greatest, Isa::load(scores + i));
  const float now = Isa::most_of(greatest);
  if (now > *most) {
    const float shrink = Isa::first_of(exponential<Isa>(Isa::set(*most - now)));
    *sum *= shrink;
    for (int64_t d = 0; d < dim; d += Isa::kRows) Isa::store(out + d, Isa::mul(Isa::load(out + d), Isa::set(shrink)));
    *most = now;
  }
  F total = Isa::set(0.0F);
  for (int64_t i = 0; i < kKeyTile; i += Isa::kRows) {
    const F share = exponential<Isa>(Isa::sub(Isa::load(scores + i), Isa::set(*most)));
    Isa::store(scores + i, share);
  }
  for (int64_t i = 0; i < from; ++i) scores[i] = 0.0F;
  for (int64_t i = to; i < kKeyTile; ++i) scores[i] = 0.0F;
  for (int64_t i = 0; i < kKeyTile; i += Isa::kRows) total = Isa::add(total, Isa::load(scores + i));
  *sum += Isa::total(total);
}

template <class Isa>
void attend(const Attend& a) {
  const int64_t rows = a.queries * a.heads, dim = a.dim;
  float* values_copy = a.scratch;
  float* turned = values_copy + kKeyTile * dim;
  float* scores = turned + kKeyTile * dim;
  float* out = scores + rows * kKeyTile;
  float* most = out + rows * dim;
  float* sum = most + rows;
  for (int64_t r = 0; r < rows; ++r) {
    most[r] = -3e38F;
    sum[r] = 0.0F;
  }
  for (int64_t i = 0; i < rows * dim; i += Isa::kRows) Isa::store(out + i, Isa::set(0.0F));
  const auto query = [&](int64_t r) { return a.query + r / a.heads * a.stride + r % a.heads * dim; };
  const int64_t end = a.first + a.queries;  // keys that any of them sees
  const int64_t begin = a.window == 0 || a.first < a.window ? 0 : a.first - a.window + 1;
  for (int64_t from = begin; from < end; from += kKeyTile) {
    const int64_t count = end - from < kKeyTile ? end - from : kKeyTile;
    const float* keys = rows_of<Isa>(a.cache, a.cache.keys, from, count, dim, values_copy);
    if (rows <= 8) {
      for (int64_t r = 0; r < rows; ++r) scores_of_row<Isa>(query(r), keys, count, dim, a.scale, scores + r * kKeyTile);
    } else {
      for (int64_t i = 0; i < kKeyTile; ++i)
        for (int64_t d = 0; d < dim; ++d) turned[d * kKeyTile + i] = i < count ? keys[i * dim + d] : 0.0F;
      for (int64_t r = 0; r < rows; r += 4) {
        const float* q[4];
        float* s[4];
        for (int64_t i = 0; i < 4; ++i) {  // the last row again where there are fewer
          const int64_t row = r + i < rows ? r + i : rows - 1;
          q[i] = query(row);
          s[i] = scores + row * kKeyTile;
        }
        scores_of_tile<Isa, 4>(q, turned, dim, a.scale, s);
      }
    }
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t position = a.first + r / a.heads;
      int64_t to = position + 1 - from, since = a.window == 0 ? 0 : position + 1 - a.window - from;
      to = to < 0 ? 0 : to > count ? count : to;
      since = since < 0 ? 0 : since > to ? to : since;
      softmax_tile<Isa>(scores + r * kKeyTile, since, to, most + r, sum + r, out + r * dim, dim);
    }
    const float* values = rows_of<Isa>(a.cache, a.cache.values, from, count, dim, values_copy);
    for (int64_t r = 0; r < rows; r += 4) {
      const float* s[4];
      float* o[4];
      for (int64_t i = 0; i < 4; ++i) {
        s[i] = scores + (r + i) * kKeyTile;
        o[i] = out + (r + i) * dim;
      }
      if (rows - r >= 4) {
        add_values<Isa, 4>(s, values, count, dim, o);
      } else {
        for (int64_t i = 0; i < rows - r; ++i) add_values<Isa, 1>(s + i, values, count, dim, o + i);
      }
    }
  }
  for (int64_t r = 0; r < rows; ++r) {
    float* to = a.out + r / a.heads * a.stride + r % a.heads * dim;
    const float share = 1.0F / sum[r];
    for (int64_t d = 0; d < dim; d += Isa::kRows)
      Isa::store(to + d, Isa::mul(Isa::load(out + r * dim + d), Isa::set(share)));
  }
}

template <class Isa>
constexpr BlockKernels block_kernels() {
  return {rms_norm<Isa>, rope<Isa>, attend<Isa>, gated<Isa>, add_scaled<Isa>};
}

}  // namespace
}  // namespace arkit::ark
