#pragma once
// The last look at a layer before exporters get it: numbers that no loader can compute with, and layers of which
// nothing is left, are refused by the layer's name, whatever scheme and format made them.

#include <functional>
#include <string_view>

#include <ATen/core/Tensor.h>

#include <arkit/exporter.h>
#include <arkit/log.h>

namespace arkit {

// Weights below this are zero wherever they are computed with: float32 ends at 1e-38, and sums hold larger numbers.
inline constexpr double kNegligibleWeight = 1e-30;

// What the codes and scales of `layer` stand for. Throws ErrorCode::input for a NaN or an infinity: weights too large
// for the type of the scales.
void require_finite_result(std::string_view layer, const at::Tensor& dequantized);

// Scales, zero points and the range of activations are finite, and global scales, which loaders divide by, are not
// zero.
void require_usable_scales(const LayerRecord& layer);

// `relative_error` of the rounded weight, and its largest magnitude, asked for only where the error is large. Throws
// ErrorCode::input where rounding left nothing of it because its scales end above it; says so where all of it is below
// kNegligibleWeight.
void require_something_left(const LayerPlan& layer, double relative_error,
                            const std::function<double()>& largest_weight, Reporter& reporter);

}  // namespace arkit
