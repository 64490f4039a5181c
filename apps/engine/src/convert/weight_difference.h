#pragma once
// How far two tensors of one shape are apart, a slice at a time.

#include <cstdint>

#include <ATen/core/Tensor.h>

#include <arkit/export.h>

namespace arkit {

struct WeightDifference {
  double relative = 0.0;  // ||a - b|| / ||a||; 1 when a is 0 and b is not
  double max = 0.0;       // largest |a - b|
  int64_t differing = 0;  // elements
  bool finite = true;     // false: the figures are those of the finite elements
};

[[nodiscard]] ARKIT_INTERNAL WeightDifference weight_difference(const at::Tensor& a, const at::Tensor& b);

}  // namespace arkit
