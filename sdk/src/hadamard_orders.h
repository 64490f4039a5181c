#pragma once
// Constructions of single Hadamard matrices (docs/spec/rotations.md 3), as rows of +1 and -1.

#include <cstdint>
#include <optional>
#include <vector>

namespace arkit::rotation {

// order x order, row-major. Orders that are no power of two, up to 256; nullopt where no construction here fits.
[[nodiscard]] std::optional<std::vector<int8_t>> construct_hadamard(int64_t order);

}  // namespace arkit::rotation
