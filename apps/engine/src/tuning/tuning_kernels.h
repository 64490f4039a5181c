#pragma once
// Loops over elements of the tuning room; no LibTorch, so that they vectorise and compile in a second. Each works on
// one contiguous range and is called from several threads with disjoint ranges.

#include <cstdint>

namespace arkit::kernels {

struct BFloat16 {
  uint16_t bits;
};

// p -= lr * sign(g) with sign(0) = 0, then g = 0.
void sign_step(float* p, float* g, int64_t n, float lr);

// b = momentum * b + g (b = g when `first`), p -= lr * sign(b), g = 0.
void sign_momentum_step(float* p, float* g, float* b, int64_t n, float lr, float momentum, bool first);

// One step of Adam without weight decay; the bias corrections come as 1 - beta^t. g = 0 afterwards.
struct AdamStep {
  float lr, beta1, beta2, eps, correction1, sqrt_correction2;
};
void adam_step(float* p, float* g, float* m, float* v, int64_t n, const AdamStep& step);

// Sum of (pred - ref)^2 over `rows` rows of `width`; grad = factor * (pred - ref). Rows whose mask is 0 (when `mask` is
// not null) add nothing and get a zero gradient.
template <typename T>
double squared_error(const T* pred, const T* ref, const uint8_t* mask, int64_t rows, int64_t width, float factor,
                     T* grad);

// The same without elements whose |pred - ref| is above `limit` (the outlier loss of docs/spec/signround.md 10).
template <typename T>
double squared_error_below(const T* pred, const T* ref, const uint8_t* mask, int64_t rows, int64_t width, float factor,
                           float limit, T* grad);

// sum[c] += x[r, c]^2 over all rows.
template <typename T>
void add_squares(const T* x, int64_t rows, int64_t width, float* sum);

// sum of row over rows: out[c] += x[r, c].
template <typename T>
void add_rows(const T* x, int64_t rows, int64_t width, float* out);

}  // namespace arkit::kernels
