#pragma once
// Channel scales folded into weights: what a norm or a layer gives is divided by them, the columns that read it are
// multiplied. Everything is computed in f32 and rounded once, so that a run and its verification get the same bits.

#include <string>
#include <string_view>

#include <ATen/core/Tensor.h>

#include <arkit/export.h>
#include <arkit/json.h>
#include <arkit/transform.h>

namespace arkit {

// Scales that were chosen for a place.
struct ChannelFold {
  ScalePlace place;
  at::Tensor scales;   // f32 [channels], numbers of bfloat16
  json::Object found;  // see ScaleChoice
};

// A norm's weight with its scales, as it is stored, and what its rounding leaves for the columns to make up for: their
// scales are the quotient of the two weights, so that no loss comes from a norm in few bits.
struct FoldedNorm {
  at::Tensor weight;   // in the dtype asked for
  at::Tensor columns;  // f32 [channels]
};
[[nodiscard]] ARKIT_EXPORT FoldedNorm fold_norm(const at::Tensor& weight, const at::Tensor& scales,
                                                at::ScalarType stored);

// The rows of a weight, or a bias, divided; in its own dtype.
[[nodiscard]] ARKIT_EXPORT at::Tensor fold_rows(const at::Tensor& tensor, const at::Tensor& scales);

// The columns of a weight multiplied; in its own dtype. `scales` as of `place`: one a channel of what it reads.
[[nodiscard]] ARKIT_EXPORT at::Tensor fold_columns(const at::Tensor& weight, const ScalePlace& place,
                                                   const at::Tensor& scales);

// Rounded to bfloat16, as they are recorded.
[[nodiscard]] ARKIT_EXPORT at::Tensor recorded_scales(const at::Tensor& scales);

}  // namespace arkit
