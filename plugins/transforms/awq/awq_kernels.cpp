#include "awq_kernels.h"

#include <cmath>

namespace arkit::awq {
namespace {

constexpr int64_t kLanes = 8;

// Eight running sums, added up at the end: as wide as a vector register, and one order.
template <typename Term>
double sum_of(int64_t count, const Term& term) {
  double lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (int64_t lane = 0; lane < kLanes; ++lane) lanes[lane] += term(i + lane);
  for (; i < count; ++i) lanes[i % kLanes] += term(i);
  double sum = 0.0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

}  // namespace

void add_magnitudes(const float* x, int64_t rows, int64_t width, float* sums) {
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t column = 0; column < width; ++column) sums[column] += std::fabs(x[row * width + column]);
}

double squared_distance(const float* a, const float* b, int64_t count) {
  return sum_of(count, [&](int64_t i) {
    const double difference = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    return difference * difference;
  });
}

double dot(const float* a, const float* b, int64_t count) {
  return sum_of(count, [&](int64_t i) { return static_cast<double>(a[i]) * static_cast<double>(b[i]); });
}

}  // namespace arkit::awq
