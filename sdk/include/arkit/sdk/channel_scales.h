#pragma once
// Scales of channels as transforms choose them and the engine folds them (docs/spec/transforms.md 2).

#include <ATen/core/Tensor.h>

#include <arkit/transform.h>

namespace arkit::sdk {

// One scale a column of the layers that read the place, from one a channel of what it gives.
[[nodiscard]] at::Tensor column_scales(const ScalePlace& place, const at::Tensor& scales);

}  // namespace arkit::sdk
