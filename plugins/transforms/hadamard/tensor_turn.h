#pragma once
// How one tensor of a rotated checkpoint follows from a tensor of the original.

#include <memory>
#include <string>

#include <ATen/core/Tensor.h>

#include <arkit/model_source.h>

namespace arkit::rotation {

struct TensorTurn {
  std::string origin;                           // tensor of the original; a matrix [out, in] or a bias [out]
  std::string gain;                             // norm weight that multiplies the columns first; empty = none
  std::shared_ptr<const InputRotation> input;   // W R, blocks of the columns
  std::shared_ptr<const InputRotation> output;  // R^T W, blocks of the rows
  bool ones = false;                            // a norm weight whose gain went into the layers behind it
};

// The turned tensor in the dtype of the original; computed in float64 a few rows or columns at a time, rounded once.
[[nodiscard]] at::Tensor turned(const TensorTurn& turn, const WeightSource& original);

}  // namespace arkit::rotation
