#pragma once
// The search by what floating-point numbers are.

#include <cmath>
#include <cstddef>

namespace arkit::io {

template <typename Float>
size_t first_non_finite_ref(const Float* data, size_t n) {
  size_t i = 0;
  while (i < n && std::isfinite(data[i])) ++i;
  return i;
}

}  // namespace arkit::io
