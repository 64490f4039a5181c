#pragma once

#include <cstddef>
#include <span>

namespace arkit {

// Where the largest number is, the first of equal ones; NaN is never the largest. 0 where there is none.
[[nodiscard]] size_t first_largest(std::span<const float> numbers);

}  // namespace arkit
