#include "least_error_rows.h"

#include <algorithm>
#include <array>

#include <arkit/kernel_set.h>

#include "block_values.h"
#include "search.h"

namespace arkit::gguf_k {
namespace {

constexpr int kLanes = 8;  // sums of their own, whatever the instruction set: the same bits on every machine

ARKIT_INLINE double weighted_error(const float* x, const float* value, const float* importance, int n) {
  float sums[kLanes] = {};
  for (int i = 0; i < n; i += kLanes)
    for (int lane = 0; lane < kLanes; ++lane) {
      const float difference = x[i + lane] - value[i + lane];
      sums[lane] += importance[i + lane] * difference * difference;
    }
  double sum = 0;
  for (const float lane : sums) sum += static_cast<double>(lane);
  return sum;
}

}  // namespace

bool LeastErrorRounder::knows_both(BlockType type) noexcept {
  return sdk::has_auto_round_search(type) && has_search(type, Search::auto_round) && has_search(type, Search::ggml);
}

// Of one super-block, or block of a type without.
double LeastErrorRounder::error(const float* x, const float* importance, const Row& row, int64_t block) {
  const int groups = shape_.block / shape_.group;
  std::array<float, 16> scales, minima;
  for (int g = 0; g < groups; ++g) {
    const auto at = static_cast<size_t>(g);
    const bool super = shape_.scale_bits > 0;
    scales[at] = row.d[block] * (super ? static_cast<float>(row.scales[block * groups + g]) : 1);
    if (shape_.minima) minima[at] = row.dmin[block] * (super ? static_cast<float>(row.minima[block * groups + g]) : 1);
  }
  values_.resize(static_cast<size_t>(shape_.block));
  put_values({.codes = row.codes + block * shape_.block,
              .scales = scales.data(),
              .minima = shape_.minima ? minima.data() : nullptr,
              .table = nullptr,
              .groups = groups,
              .group = shape_.group,
              .zero = shape_.minima ? 0 : 1 << (shape_.bits - 1)},
             values_.data());
  const int64_t first = block * shape_.block;
  return by_kernel_set<weighted_error>(x + first, values_.data(), importance + first, shape_.block);
}

void LeastErrorRounder::round(const float* x, int64_t n, const float* importance, const Row& to) {
  ggml_.round(x, n, importance, to);
  if (importance == nullptr) return;
  const int64_t blocks = n / shape_.block, groups = n / shape_.group, each = groups / blocks;
  const auto size = [](int64_t count) { return static_cast<size_t>(count); };
  codes_.resize(size(n));
  d_.resize(size(blocks));
  dmin_.resize(size(blocks));
  scales_.resize(size(groups));
  minima_.resize(size(groups));
  const Row other{.codes = codes_.data(),
                  .d = d_.data(),
                  .dmin = to.dmin == nullptr ? nullptr : dmin_.data(),
                  .scales = to.scales == nullptr ? nullptr : scales_.data(),
                  .minima = to.minima == nullptr ? nullptr : minima_.data()};
  auto_round_.round(x, n, importance, other);
  const auto take = [](auto* from, auto* into, int64_t first, int64_t count) {
    if (into != nullptr) std::copy_n(from + first, count, into + first);
  };
  for (int64_t b = 0; b < blocks; ++b) {
    if (!(error(x, importance, other, b) < error(x, importance, to, b))) continue;  // nor where either is no number
    take(other.codes, to.codes, b * shape_.block, shape_.block);
    take(other.d, to.d, b, 1);
    take(other.dmin, to.dmin, b, 1);
    take(other.scales, to.scales, b * each, each);
    take(other.minima, to.minima, b * each, each);
  }
}

}  // namespace arkit::gguf_k
