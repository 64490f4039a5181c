#pragma once
// The grid of the symmetric scale search (docs/spec/rtn.md 4), shared by the fast kernels and the reference.

#include <arkit/sdk/float16.h>

namespace arkit::int_scheme {

inline constexpr int kMaxCandidates = 200;

// The inverse scale of candidate c is factor[c] / M, where M is the group's signed element of largest magnitude. The
// start, factor -2^(bits-1), is not among them.
struct SearchGrid {
  int count = 0;
  float start = 0;
  float factor[kMaxCandidates] = {};
};

ARKIT_ALWAYS_INLINE SearchGrid search_grid(int bits) {
  SearchGrid grid;
  const double nmax = 1 << (bits - 1);
  const double step = bits == 2 ? 0.01 : nmax * 0.75 / 200 * 2;
  const int bound = bits == 2 ? 90 : 100;
  grid.start = static_cast<float>(-nmax);
  for (int i = -bound; i <= bound; ++i)
    if (i != 0) grid.factor[grid.count++] = static_cast<float>(-(nmax - step * i));
  return grid;
}

}  // namespace arkit::int_scheme
