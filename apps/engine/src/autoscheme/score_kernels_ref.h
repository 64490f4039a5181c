#pragma once
// The sums of score_kernels.h in double, of values that are floats already, and the draw term by term.

#include <cmath>
#include <cstdint>

namespace arkit::auto_scheme::kernels {

inline double weighted_squared_error_ref(const float* f, const float* w, const float* q, int64_t n) {
  double sum = 0.0;
  for (int64_t i = 0; i < n; ++i)
    sum += static_cast<double>(f[i]) * std::pow(static_cast<double>(w[i]) - static_cast<double>(q[i]), 2);
  return sum;
}

inline double absolute_products_ref(const float* g, const float* w, const float* q, int64_t n) {
  double sum = 0.0;
  for (int64_t i = 0; i < n; ++i)
    sum += std::fabs(static_cast<double>(g[i]) * (static_cast<double>(w[i]) - static_cast<double>(q[i])));
  return sum;
}

inline double squared_products_ref(const float* g, const float* x, const float* q, int64_t n) {
  double sum = 0.0;
  for (int64_t i = 0; i < n; ++i)
    sum += std::pow(static_cast<double>(g[i]) * (static_cast<double>(x[i]) - static_cast<double>(q[i])), 2);
  return sum;
}

}  // namespace arkit::auto_scheme::kernels
