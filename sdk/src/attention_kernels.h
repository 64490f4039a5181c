#pragma once
// Element loops of causal attention in tiles (attention_tiles.cpp). No LibTorch here.

#include <cstdint>

namespace arkit::sdk::kernels {

// A tile of scores [heads * queries, keys], row-major with `stride`: row r belongs to query first_query + r % queries,
// which sees the keys 0 .. first_query + r % queries.
struct ScoreTile {
  int64_t heads, queries, keys, stride, first_query;
};

// scores <- exp(scale * scores - max of the row), 0 for unseen keys. inverse_sum [rows] and log_sum [rows]: 1 / sum of
// the row, and max + ln(sum).
void causal_softmax(float* scores, const ScoreTile& tile, float scale, float* inverse_sum, float* log_sum);

// Backward of the same tile. shares <- exp(scale * scores - log_sum) in place of the scores; grad_shares [as scores] <-
// scale * shares * (grad_shares - delta); both 0 for unseen keys. delta [rows] = sum over a row of grad_out * out.
void causal_softmax_backward(float* scores, float* grad_shares, const ScoreTile& tile, float scale,
                             const float* log_sum, const float* delta);

// What scores become before they are exponents: cap * tanh(scale * score / cap), plus the query's row of a mask
// [queries, keys], all of whose keys then count. Without a mask (null) the tile's rule says which keys a query sees.
struct ScoreCap {
  float cap;
  const float* mask;
};
void capped_softmax(float* scores, const ScoreTile& tile, float scale, const ScoreCap& cap, float* inverse_sum,
                    float* log_sum);
void capped_softmax_backward(float* scores, float* grad_shares, const ScoreTile& tile, float scale, const ScoreCap& cap,
                             const float* log_sum, const float* delta);

// to[i] = from[i] * factor for a row of n.
void scale_row(const float* from, float factor, float* to, int64_t n);

// Sum of a[i] * b[i].
float dot_row(const float* a, const float* b, int64_t n);

}  // namespace arkit::sdk::kernels
