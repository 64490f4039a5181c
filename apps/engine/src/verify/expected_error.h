#pragma once
// What rounding may cost, derived from the numbers of a scheme (ADR 0024).

#include <arkit/descriptors.h>

namespace arkit {

// ||x - xq|| / ||x|| to be expected of normally distributed numbers, rounded to the nearest code, for a weight or an
// activation with `features` numbers a row; 0 for what stays in floating point.
[[nodiscard]] double expected_error(const TensorQuant& quant, int64_t features);

// Both sides of one layer's product: errors of weights and inputs are independent.
[[nodiscard]] double expected_error(const LinearSpec& layer);

}  // namespace arkit
