#pragma once
// The last look at a layer before exporters get it: numbers that no loader can compute with are refused by the layer's
// name, whatever scheme and format made them.

#include <string_view>

#include <ATen/core/Tensor.h>

#include <arkit/exporter.h>

namespace arkit {

// What the codes and scales of `layer` stand for. Throws ErrorCode::unsupported for a NaN or an infinity: weights too
// large for the type of the scales.
void require_finite_result(std::string_view layer, const at::Tensor& dequantized);

// Scales, zero points and the range of activations are finite, and global scales, which loaders divide by, are not
// zero.
void require_usable_scales(const LayerRecord& layer);

}  // namespace arkit
