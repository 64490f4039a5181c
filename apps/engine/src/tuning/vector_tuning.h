#pragma once
// Tuning of norm weights and biases (enable_norm_bias_tuning, docs/spec/signround.md 9): an additive offset in units of
// one step of a 4-bit grid over the whole vector; nothing is rounded, the result stays a vector of floats.

#include <ATen/core/Tensor.h>

#include <arkit/export.h>

namespace arkit {

struct VectorTuning {
  at::Tensor base;  // the vector as loaded
  at::Tensor v;     // f32, same shape, starts at 0
  float scale = 1.0F, zero_point = 0.0F;
};

[[nodiscard]] ARKIT_EXPORT VectorTuning begin_vector_tuning(const at::Tensor& base);
// scale * (clamp(base / scale + v + zero_point, 0, 15) - zero_point) in base's dtype; differentiable in v.
[[nodiscard]] ARKIT_EXPORT at::Tensor tuned_vector(const VectorTuning& tuning);

}  // namespace arkit
