#pragma once
// A linear layer while it is tuned: y = x Wq^T + b, where Wq is the fake-quantized weight of the current iteration.

#include <memory>

#include <ATen/core/Tensor.h>

#include <arkit/descriptors.h>
#include <arkit/model_adapter.h>
#include <arkit/scheme.h>

namespace arkit {

// Everything of one tuned layer. Wq is computed once an iteration into a reused buffer; in backward d loss / d Wq goes
// into a scratch buffer shared by all layers and at once through the tuner into the gradients of what is trained, so
// that neither an autograd graph nor a gradient of the weight's shape outlives one layer's backward.
struct TunedLinear {
  const Linear* linear = nullptr;
  LayerQuant quant;
  std::unique_ptr<WeightTuner> tuner;  // null = the weight is not quantized
  const Scheme* act_scheme = nullptr;  // null = activations stay in floating point
  bool touched = false;                // did backward reach this layer in this iteration?
  at::Tensor weight;                   // Wq (or the original weight), [out, in] in the compute dtype
  at::Tensor act_max;                  // calibrated, for static activations; undefined otherwise
  at::Tensor act_max_scale;            // f32 [1], tuned factor of act_max; undefined = not tuned
  at::Tensor anchor;                   // a leaf that makes autograd come here although Wq is no variable
  double backward_seconds = 0.0;       // spent in the tuner's gradient
};

// Quantize-dequantize of the layer's input, or x itself.
[[nodiscard]] ARKIT_EXPORT at::Tensor tuned_input(const TunedLinear& layer, const at::Tensor& x);

// x [..., in] -> [..., out]. Differentiable in x and bias; adds to the gradients of layer.tuner.
// `scratch` is f32 with at least as many elements as the weight and outlives the backward pass, as does `layer`.
[[nodiscard]] ARKIT_EXPORT at::Tensor tuned_linear(TunedLinear& layer, const at::Tensor& x, const at::Tensor& bias,
                                                   const at::Tensor& scratch);

}  // namespace arkit
