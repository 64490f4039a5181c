#pragma once
// Activations of layers whose weights are 8-bit floats: rounded a row at a time to what the export says, as its scheme
// does it (docs/spec/floats.md 2, 3), and float32 again.

#include <cstdint>
#include <optional>

#include <arkit/sdk/backend.h>

namespace arkit::ark {

// Part of what is kept of a layer: no padding.
struct Rounding {
  enum Kind : int32_t { none, e4m3, mx_e4m3 };  // a float32 scale; a power of two

  int32_t kind = none;
  float limit = 0;    // greatest magnitude of static activations; 0 = that of each group
  int64_t group = 0;  // inputs of one scale; the last may be fewer

  bool operator==(const Rounding&) const = default;
};
static_assert(sizeof(Rounding) == 16);

// Without the limit; none = this file cannot round so.
[[nodiscard]] std::optional<Rounding> rounding_of(const sdk::QuantSpec& activation, int64_t in_features);

// x [count] to `out`, which may be x.
void round_row(const Rounding& rounding, const float* x, int64_t count, float* out);

}  // namespace arkit::ark
