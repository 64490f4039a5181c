// Attention over 8-bit keys and values, said as plainly as it can be.
#include <cmath>
#include <cstring>
#include <initializer_list>

#include "kernels.h"

namespace arkit::ark {
namespace {

float exponential(float x) {
  x = x > -87.0F ? x : -87.0F;
  x = x < 88.0F ? x : 88.0F;
  const auto power = static_cast<int32_t>(std::lrintf(x * 1.44269504F));
  const auto n = static_cast<float>(power);
  const float r = std::fma(n, 2.12194440e-4F, std::fma(n, -0.693359375F, x));
  float p = 1.0F / 720;
  for (const float factor : {1.0F / 120, 1.0F / 24, 1.0F / 6, 0.5F, 1.0F, 1.0F}) p = std::fma(p, r, factor);
  uint32_t bits = 0;
  std::memcpy(&bits, &p, sizeof(bits));
  bits += static_cast<uint32_t>(power) << 23;
  std::memcpy(&p, &bits, sizeof(p));
  return p;
}

float scale_of(const ByteStrips& strips, int64_t dim, int64_t i) {
  float scale = 0;
  std::memcpy(&scale, strips.of[i / kStrip] + kStrip * dim + i % kStrip * 4, sizeof(scale));
  return scale;
}

void shares_of_row(const ByteAttention& a, const ByteStrips& values, const ByteRows& rows, int64_t r,
                   const Seen& seen) {
  float* scores = rows.scores + r * kByteTile;
  uint8_t* shares = rows.shares + r * 2 * kByteTile;
  std::memset(shares, 0, 2 * kByteTile);
  rows.share_scales[r] = 0;
  if (seen.since == seen.to) return;
  float now = scores[seen.since];
  for (int64_t i = seen.since; i < seen.to; ++i) now = scores[i] > now ? scores[i] : now;
  if (now > rows.most[r]) {
    const float shrink = exponential(rows.most[r] - now);
    rows.sum[r] *= shrink;
    for (int64_t d = 0; d < a.dim; ++d) rows.out[r * a.dim + d] *= shrink;
    rows.most[r] = now;
  }
  float sums[kStrip] = {};
  for (int64_t i = 0; i < kByteTile; ++i) {
    const bool sees = i >= seen.since && i < seen.to;
    const float share = sees ? exponential(scores[i] - rows.most[r]) : 0.0F;
    sums[i % kStrip] += share;
    scores[i] = sees ? share * scale_of(values, a.dim, i) : 0.0F;
  }
  for (int half = kStrip / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) sums[i] += sums[i + half];
  rows.sum[r] += sums[0];
  float largest = 0;
  for (int64_t i = 0; i < kByteTile; ++i)
    if (scores[i] > largest || std::isnan(scores[i])) largest = scores[i];
  if (!(largest >= 1e-30F && largest <= 3.4028234e38F)) {
    rows.share_scales[r] = largest < 1e-30F ? 0.0F : NAN;
    return;
  }
  rows.share_scales[r] = largest / 65535.0F;
  for (int64_t i = 0; i < kByteTile; ++i) {
    const long share = std::lrintf(scores[i] * (65535.0F / largest));
    shares[i] = static_cast<uint8_t>(share >> 8);
    shares[kByteTile + i] = static_cast<uint8_t>(share & 255);
  }
}

}  // namespace

void attend_bytes_ref(const ByteAttention& a) {
  const int64_t count = a.queries * a.heads;
  const ByteRows rows(a.scratch, count, a.dim);
  for (int64_t r = 0; r < count; ++r) {
    rows.most[r] = -3e38F;
    rows.sum[r] = 0;
    kernels_ref.quantize(a.query + r / a.heads * a.stride + r % a.heads * a.dim, 1, static_cast<int32_t>(a.dim),
                         kMostLevels, rows.queries + r * a.dim, rows.query_scales + r, rows.query_sums + r);
    rows.query_scales[r] *= a.scale;
    for (int64_t d = 0; d < a.dim; ++d) rows.out[r * a.dim + d] = 0;
  }
  const int64_t end = a.first + a.queries;
  for (int64_t from = 0; from < end; from += kByteTile) {
    for (int64_t r = 0; r < count; ++r) {
      const Seen seen(a, r, from);
      if (seen.since == seen.to) continue;
      const ByteStrips keys(a, a.keys, from, end), values(a, a.values, from, end);
      for (int64_t i = 0; i < kByteTile; ++i) {
        int32_t dot = 0;
        const uint8_t* strip = keys.of[i / kStrip];
        for (int64_t d = 0; d < a.dim; ++d)
          dot += (strip[(d / 4 * kStrip + i % kStrip) * 4 + d % 4] - 128) * rows.queries[r * a.dim + d];
        rows.scores[r * kByteTile + i] = static_cast<float>(dot) * rows.query_scales[r] * scale_of(keys, a.dim, i);
      }
      shares_of_row(a, values, rows, r, seen);
      for (int64_t d = 0; d < a.dim; ++d) {
        int32_t dot = 0;
        for (int64_t i = 0; i < kByteTile; ++i) {
          const uint8_t* strip = values.of[i / kStrip];
          const int64_t lane = i % kStrip;
          const uint8_t* share = rows.shares + r * 2 * kByteTile + i;
          dot +=
              static_cast<int8_t>(strip[(lane / 4 * a.dim + d) * 4 + lane % 4]) * (share[0] * 256 + share[kByteTile]);
        }
        float& out = rows.out[r * a.dim + d];
        out = std::fma(static_cast<float>(dot), rows.share_scales[r], out);
      }
    }
  }
  for (int64_t r = 0; r < count; ++r)
    for (int64_t d = 0; d < a.dim; ++d)
      a.out[r / a.heads * a.stride + r % a.heads * a.dim + d] = rows.out[r * a.dim + d] * (1.0F / rows.sum[r]);
}

}  // namespace arkit::ark
