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

void scale_row(const float* from, float factor, float* to, int64_t n) {
  by_kernel_set<scaled_row>(from, factor, to, n);
}

float dot_row(const float* a, const float* b, int64_t n) {
  return by_kernel_set<row_product>(a, b, n);
}

}  // namespace arkit::sdk::kernels
