#pragma once
// Attention over keys and values in 8 bits, one scale for each position of a head.
//
//   score[r][p] = s_q[r] * scale * s_k[p] * sum_d q[r][d] * k[p][d]
//   out[r][d]   = sum over tiles t of  s_w[r][t] * sum_p w[r][p] * v[p][d],   w ~ e^(score - most) * s_v[p] in 65535 steps
//
// A tile is kByteTile positions, counted from position 0 whatever is asked first: what a query gets follows from its place
// and the keys alone. Sums over d and p are integers and exact, what stands between is float32 in a fixed order: every
// set of kernels gives the same bits as `ref`.

#include <cstdint>

namespace arkit::ark {

// A page of a head is strips one behind the other, each of kStrip positions:
//   keys     [dim / 4][kStrip][4] codes plus 128, then kStrip scales
//   values   [kStrip / 4][dim][4] codes, then kStrip scales
inline constexpr int kStrip = 16;
inline constexpr int kByteTile = 64;
constexpr int64_t strip_bytes(int64_t dim) {
  return kStrip * (dim + 4);
}

// Queries of the heads that share one head of keys.
struct ByteAttention {
  const uint8_t* keys;  // of the pools, at this head of page 0; aligned to 4
  const uint8_t* values;
  const int64_t* pages;  // of the sequence
  int64_t page_stride;   // bytes from a page to the next
  int64_t page_size;     // a multiple of kStrip
  int64_t first;         // position of the first query
  int64_t queries;       // at most kQueryTile, one behind the other
  int64_t heads;         // that share the keys
  int64_t dim;           // a multiple of 16, at most kMaxHeadDim
  int64_t window;        // 0 = all positions before
  float scale;
  const float* query;  // of the first query and head; heads lie `dim` apart
  float* out;          // the same places
  int64_t stride;      // floats from one query to the next
  float* scratch;      // byte_attention_scratch(queries * heads, dim) floats
};

constexpr int64_t byte_attention_scratch(int64_t rows, int64_t dim) {
  return rows * (dim / 4 + dim + kByteTile + 2 * kByteTile / 4 + 6);
}

// Where things of its rows lie in the scratch.
struct ByteRows {
  float *out, *scores, *most, *sum, *query_scales, *share_scales;
  int32_t* query_sums;
  int8_t* queries;  // [rows][dim]
  uint8_t* shares;  // [rows][2][kByteTile], the high bytes first

  ByteRows(float* scratch, int64_t rows, int64_t dim)
      : out(scratch),
        scores(out + rows * dim),
        most(scores + rows * kByteTile),
        sum(most + rows),
        query_scales(sum + rows),
        share_scales(query_scales + rows),
        query_sums(reinterpret_cast<int32_t*>(share_scales + rows)),
        queries(reinterpret_cast<int8_t*>(query_sums + rows)),
        shares(reinterpret_cast<uint8_t*>(queries + rows * dim)) {}
};

// The strips of a tile; those behind the last key are one that is there and count nothing.
struct ByteStrips {
  const uint8_t* of[kByteTile / kStrip];

  ByteStrips(const ByteAttention& a, const uint8_t* pool, int64_t from, int64_t end) {
    for (int64_t s = 0; s < kByteTile / kStrip; ++s) {
      const int64_t at = from + s * kStrip < end ? from + s * kStrip : from;
      of[s] = pool + a.pages[at / a.page_size] * a.page_stride + at % a.page_size / kStrip * strip_bytes(a.dim);
    }
  }
};

// Positions of a tile, counted from it, that a query sees: none where `since` is `to`.
struct Seen {
  int64_t since, to;

  Seen(const ByteAttention& a, int64_t row, int64_t from) {
    const int64_t position = a.first + row / a.heads;
    to = position + 1 - from;
    since = a.window == 0 ? 0 : to - a.window;
    to = to < 0 ? 0 : to > kByteTile ? kByteTile : to;
    since = since < 0 ? 0 : since > to ? to : since;
  }
};

// A position's key or value, as `quantize` leaves it, into its place in a strip.
inline void put_key(const int8_t* codes, float scale, int64_t dim, int64_t lane, uint8_t* strip) {
  for (int64_t d = 0; d < dim; ++d) strip[(d / 4 * kStrip + lane) * 4 + d % 4] = static_cast<uint8_t>(codes[d] + 128);
  __builtin_memcpy(strip + kStrip * dim + lane * 4, &scale, sizeof(scale));
}
inline void put_value(const int8_t* codes, float scale, int64_t dim, int64_t lane, uint8_t* strip) {
  for (int64_t d = 0; d < dim; ++d) strip[(lane / 4 * dim + d) * 4 + lane % 4] = static_cast<uint8_t>(codes[d]);
  __builtin_memcpy(strip + kStrip * dim + lane * 4, &scale, sizeof(scale));
}

}  // namespace arkit::ark
