#pragma once
// Element loops for results that are the same on every machine (arkit/fixed_order.h). No LibTorch here.

#include <cstdint>

namespace arkit::sdk::kernels {

// One query of one head. Scores are 16 partial sums over head_dim, added by halving; shares are summed likewise; the
// result is the sum over keys in their order. With softcap c > 0 a score s becomes c * tanh(s / c). `mask` [keys] is added
// to the scores after that and may be null.
struct FixedQuery {
  const float *query, *key, *value, *mask;
  int64_t key_stride, value_stride;  // of keys, in elements
  int64_t keys, head_dim, value_dim;
  float scale, softcap;
};
void fixed_attend(const FixedQuery& call, float* shares, float* out);  // shares: room for `keys` floats

void fixed_gelu(const float* x, float* y, int64_t n);       // x / 2 (1 + erf(x / sqrt 2))
void fixed_gelu_tanh(const float* x, float* y, int64_t n);  // its tanh approximation
void fixed_cos_sin(const float* angle, float* cos, float* sin, int64_t n);
void fixed_powers(double base, const float* exponent, float* out, int64_t n);

}  // namespace arkit::sdk::kernels
