#pragma once
// The element loops of score_kernels.h over whole tensors, on all threads; the result does not depend on how many.

#include <ATen/core/Tensor.h>

namespace arkit::auto_scheme {

// f += g^2; both f32, contiguous, of one size.
void add_squares(const at::Tensor& g, at::Tensor& f);

// Sum of f (w - q)^2 and of |g (w - q)|: f and g f32, w and q f32 or bf16 alike, all contiguous and of one size.
[[nodiscard]] double weighted_squared_error(const at::Tensor& f, const at::Tensor& w, const at::Tensor& q);
[[nodiscard]] double absolute_products(const at::Tensor& g, const at::Tensor& w, const at::Tensor& q);

// Sum of (g (x - q))^2, all f32 or all bf16.
[[nodiscard]] double squared_products(const at::Tensor& g, const at::Tensor& x, const at::Tensor& q);

}  // namespace arkit::auto_scheme
