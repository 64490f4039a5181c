#pragma once
// A model with all its numbers in one type.

#include <memory>

#include <ATen/core/Tensor.h>

#include <arkit/export.h>
#include <arkit/model_source.h>

namespace arkit {

// `source`, which nothing is packed in and which outlives the view, with every tensor of real numbers in `dtype` (float32,
// float16 or bfloat16). Integers and 8-bit floats stay what they are, and so do vectors that the type does not hold exactly:
// they are small, and norms and biases are where formats keep more than their matrices have. A matrix with a number beyond
// the type is refused when it is read, with ErrorCode::input.
[[nodiscard]] ARKIT_INTERNAL std::unique_ptr<ModelSource> view_in_dtype(const ModelSource& source,
                                                                        at::ScalarType dtype);

}  // namespace arkit
