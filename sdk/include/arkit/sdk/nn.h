#pragma once
// Pieces of decoder blocks that model plugins share, differentiable and fused: each is one pass forward and one pass
// backward on the CPU in f32 and bf16 (nn_kernels.h), and falls back to its `_ref` twin made of plain ATen operators
// for anything else. Under NoGrad nothing is saved.

#include <optional>
#include <string_view>

#include <ATen/core/Tensor.h>

#include <arkit/model_layout.h>

namespace arkit::sdk {

// RMSNorm of the llama kind over the last dimension: weight * round(x * rsqrt(mean(x^2) + eps)); the normalised value
// is rounded to x's dtype before the weight multiplies it (docs/spec/decoder.md 2). Differentiable in x and weight.
[[nodiscard]] at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);
[[nodiscard]] at::Tensor rms_norm_ref(const at::Tensor& x, const at::Tensor& weight, double eps);

// round((x - mean(x)) * rsqrt(variance(x) + eps) * weight + bias) over the last dimension in f32; bias may be undefined
// (docs/spec/decoder.md 2). Differentiable in all three.
[[nodiscard]] at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double eps);

// The norm of a layout (docs/spec/decoder.md 2). Kind rms: rms_norm, or with Norms::wide the factor offset + weight in
// f32 and one rounding at the end. Kind layer: layer_norm with `bias`, which is undefined where there is none.
[[nodiscard]] at::Tensor apply_norm(const Norms& norms, const at::Tensor& x, const at::Tensor& weight,
                                    const at::Tensor& bias = {});

// Rotates pairs of the first 2 * cos.size(-1) channels of x [batch, seqlen, heads, head_dim] by the tables of rope.h
// ([1 or batch, seqlen, dim / 2] in x's dtype): channels i and i + dim / 2, or with `neighbours` 2i and 2i + 1 (see
// Rope). Same shape and layout as x.
[[nodiscard]] at::Tensor apply_rope(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                                    bool neighbours = false);
[[nodiscard]] at::Tensor apply_rope_ref(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin);

// Sum of all elements, f32 [1]: pairs of halves, so that neither the number of threads nor the CPU matters.
[[nodiscard]] at::Tensor fixed_sum(const at::Tensor& x);
// scalar [1] seen as `sizes`; its gradient is a fixed_sum.
[[nodiscard]] at::Tensor spread_scalar(const at::Tensor& scalar, at::IntArrayRef sizes);

// silu(gate) * up.
[[nodiscard]] at::Tensor silu_mul(const at::Tensor& gate, const at::Tensor& up);
[[nodiscard]] at::Tensor silu_mul_ref(const at::Tensor& gate, const at::Tensor& up);

// Activations a config.json may name.
enum class Activation { silu, gelu, gelu_tanh, relu };
[[nodiscard]] std::optional<Activation> find_activation(std::string_view name);
// activation(gate) * up.
[[nodiscard]] at::Tensor gated(Activation activation, const at::Tensor& gate, const at::Tensor& up);

}  // namespace arkit::sdk
