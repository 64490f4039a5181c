#pragma once
// NeUQI, "near-optimal uniform quantization initialization": scale and zero point of a group are the pair of least
// weighted squared error among those of a grid (docs/spec/rtn.md 6, arXiv 2505.17595).

#include <ATen/core/Tensor.h>

#include <arkit/sdk/signround_scheme.h>

namespace arkit::int_scheme {

struct SearchedGrid {
  at::Tensor scale;       // f32 [n_groups], not yet rounded; symmetric: negative where the mirrored range is the better
  at::Tensor zero_point;  // f32 [n_groups], 0 .. 2^bits - 1; undefined for symmetric weights
};

// `imatrix` f32 [in_features], undefined = uniform; its zeros are repaired (docs/spec/rtn.md 3). A NaN in the weight
// gives some scale.
[[nodiscard]] SearchedGrid search_neuqi(const at::Tensor& weight, const TensorQuant& quant, const at::Tensor& imatrix);

// Codes on the searched grid. Throws ErrorCode::input when the weight holds a NaN or an infinity.
[[nodiscard]] QuantizedWeight quantize_neuqi(const at::Tensor& weight, const TensorQuant& quant,
                                             const at::Tensor& imatrix);

// Freezes the searched grid into `tuning`, whose weight_min and weight_max are set: init_scale becomes the final scale,
// weight_min and weight_max what docs/spec/integers.md 1 and 2 make it from, and nothing but v is left to tune.
void freeze_neuqi(const at::Tensor& weight, const TensorQuant& quant, const at::Tensor& imatrix,
                  sdk::WeightTuning& tuning);

}  // namespace arkit::int_scheme
