#include "attention_kernels.h"

#include <cmath>

#include "kernel_math.h"

namespace arkit::sdk::kernels {
namespace {

ARKIT_INLINE float lane_max(const float* x, int64_t n) {
  float lanes[kLanes];
  for (float& lane : lanes) lane = x[0];
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int j = 0; j < kLanes; ++j) lanes[j] = std::max(lanes[j], x[i + j]);
  float max = lanes[0];
  for (; i < n; ++i) max = std::max(max, x[i]);
  for (const float lane : lanes) max = std::max(max, lane);
  return max;
}

ARKIT_INLINE void softmax_rows(float* scores, const ScoreTile& tile, float scale, float* inverse_sum, float* log_sum) {
  for (int64_t row = 0; row < tile.heads * tile.queries; ++row) {
    float* s = scores + row * tile.stride;
    const int64_t seen = tile.first_query + row % tile.queries + 1;
    const float max = scale * lane_max(s, seen);
    for (int64_t i = 0; i < seen; ++i) s[i] = fast_exp(scale * s[i] - max);
    const float sum = lane_sum(seen, [s](int64_t i) { return s[i]; });
    for (int64_t i = seen; i < tile.keys; ++i) s[i] = 0.0F;
    inverse_sum[row] = 1.0F / sum;
    log_sum[row] = max + std::log(sum);
  }
}

ARKIT_INLINE void softmax_backward_rows(float* scores, float* grad_shares, const ScoreTile& tile, float scale,
                                        const float* log_sum, const float* delta) {
  for (int64_t row = 0; row < tile.heads * tile.queries; ++row) {
    float* __restrict s = scores + row * tile.stride;
    float* __restrict g = grad_shares + row * tile.stride;
    const int64_t seen = tile.first_query + row % tile.queries + 1;
    const float log_total = log_sum[row], mean = delta[row];
    for (int64_t i = 0; i < seen; ++i) {
      const float share = fast_exp(scale * s[i] - log_total);
      s[i] = share;
      g[i] = scale * share * (g[i] - mean);
    }
    for (int64_t i = seen; i < tile.keys; ++i) s[i] = g[i] = 0.0F;
  }
}

// Within 2e-7: 1 - 2 / (e^2x + 1).
ARKIT_INLINE float fast_tanh(float x) {
  return 1.0F - 2.0F / (fast_exp(2.0F * x) + 1.0F);
}

struct SeenKeys {
  int64_t count;
  const float* mask;  // of the query; null = nothing to add
};
ARKIT_INLINE SeenKeys seen_keys(const ScoreTile& tile, const ScoreCap& cap, int64_t row) {
  const int64_t query = row % tile.queries;
  if (cap.mask != nullptr) return {tile.keys, cap.mask + query * tile.keys};
  return {tile.first_query + query + 1, nullptr};
}

ARKIT_INLINE void capped_softmax_rows(float* scores, const ScoreTile& tile, float scale, const ScoreCap& cap,
                                      float* inverse_sum, float* log_sum) {
  const float inner = scale / cap.cap;
  for (int64_t row = 0; row < tile.heads * tile.queries; ++row) {
    float* __restrict s = scores + row * tile.stride;
    const SeenKeys seen = seen_keys(tile, cap, row);
    for (int64_t i = 0; i < seen.count; ++i) s[i] = cap.cap * fast_tanh(inner * s[i]);
    if (seen.mask != nullptr)
      for (int64_t i = 0; i < seen.count; ++i) s[i] += seen.mask[i];
    const float max = lane_max(s, seen.count);
    for (int64_t i = 0; i < seen.count; ++i) s[i] = fast_exp(s[i] - max);
    const float sum = lane_sum(seen.count, [s](int64_t i) { return s[i]; });
    for (int64_t i = seen.count; i < tile.keys; ++i) s[i] = 0.0F;
    inverse_sum[row] = 1.0F / sum;
    log_sum[row] = max + std::log(sum);
  }
}

// Of a query that sees nothing every score is the mask's, and its log_sum has no room for ln(sum): shares are divided by
// what they add up to.
ARKIT_INLINE void capped_softmax_backward_rows(float* scores, float* grad_shares, const ScoreTile& tile, float scale,
                                               const ScoreCap& cap, const float* log_sum, const float* delta) {
  const float inner = scale / cap.cap;
  for (int64_t row = 0; row < tile.heads * tile.queries; ++row) {
    float* __restrict s = scores + row * tile.stride;
    float* __restrict g = grad_shares + row * tile.stride;
    const SeenKeys seen = seen_keys(tile, cap, row);
    const float log_total = log_sum[row], mean = delta[row];
    for (int64_t i = 0; i < seen.count; ++i) {
      const float bent = fast_tanh(inner * s[i]);
      const float masked = cap.cap * bent + (seen.mask != nullptr ? seen.mask[i] : 0.0F);
      const float share = fast_exp(masked - log_total);
      s[i] = share;
      g[i] = scale * (1.0F - bent * bent) * share * (g[i] - mean);
    }
    const float sum = lane_sum(seen.count, [s](int64_t i) { return s[i]; });
    if (sum > 1.5F) {
      const float inverse = 1.0F / sum;
      for (int64_t i = 0; i < seen.count; ++i) s[i] *= inverse, g[i] *= inverse;
    }
    for (int64_t i = seen.count; i < tile.keys; ++i) s[i] = g[i] = 0.0F;
  }
}

ARKIT_INLINE void scaled_row(const float* from, float factor, float* to, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] = from[i] * factor;
}

ARKIT_INLINE float row_product(const float* a, const float* b, int64_t n) {
  return lane_sum(n, [a, b](int64_t i) { return a[i] * b[i]; });
}

}  // namespace

void causal_softmax(float* scores, const ScoreTile& tile, float scale, float* inverse_sum, float* log_sum) {
  by_kernel_set<softmax_rows>(scores, tile, scale, inverse_sum, log_sum);
}

void causal_softmax_backward(float* scores, float* grad_shares, const ScoreTile& tile, float scale,
                             const float* log_sum, const float* delta) {
  by_kernel_set<softmax_backward_rows>(scores, grad_shares, tile, scale, log_sum, delta);
}

void capped_softmax(float* scores, const ScoreTile& tile, float scale, const ScoreCap& cap, float* inverse_sum,
                    float* log_sum) {
  by_kernel_set<capped_softmax_rows>(scores, tile, scale, cap, inverse_sum, log_sum);
}

void capped_softmax_backward(float* scores, float* grad_shares, const ScoreTile& tile, float scale, const ScoreCap& cap,
                             const float* log_sum, const float* delta) {
  by_kernel_set<capped_softmax_backward_rows>(scores, grad_shares, tile, scale, cap, log_sum, delta);
}

void scale_row(const float* from, float factor, float* to, int64_t n) {
  by_kernel_set<scaled_row>(from, factor, to, n);
}

float dot_row(const float* a, const float* b, int64_t n) {
  return by_kernel_set<row_product>(a, b, n);
}

}  // namespace arkit::sdk::kernels
