#pragma once
// Searches for NaN and infinity by the exponent bits alone: both have all of them set. No LibTorch here.

#include <cstddef>
#include <cstdint>

namespace arkit::io {

// Index of the first element whose `exponent` bits are all set; n when there is none.
[[nodiscard]] size_t first_non_finite(const uint16_t* data, size_t n, uint16_t exponent);
[[nodiscard]] size_t first_non_finite(const uint32_t* data, size_t n, uint32_t exponent);
[[nodiscard]] size_t first_non_finite(const uint64_t* data, size_t n, uint64_t exponent);

}  // namespace arkit::io
