#pragma once
// MLX's affine layout of one layer (README.md draws it).

#include <vector>

#include <arkit/descriptors.h>
#include <arkit/model_source.h>
#include <arkit/scheme.h>
#include <arkit/sdk/hf_export.h>
#include <arkit/sdk/packed_folder.h>

namespace arkit::mlx {

[[nodiscard]] Verdict supports_layer(const LayerPlan& layer);
[[nodiscard]] std::vector<sdk::PackedTensorShape> shapes_of(const LayerPlan& layer);
[[nodiscard]] TensorMap pack_layer(const QuantizedWeight& weight, const TensorQuant& quant);

[[nodiscard]] LinearSpec checked_spec(const sdk::LayerTensors& tensors, const TensorQuant& quant);
// The zero point is -bias / scale: a whole number where the layer was quantized with one, else (files of mlx-lm) the
// fraction that gives the stored bias. A layer whose zero points are all 2^(bits-1) comes back without them. Where a
// stored bias is not exactly -scale * zero point, because F16 has no such number, the biases come along as
// QuantizedWeight::offset: they are what loaders add to scale * code.
[[nodiscard]] QuantizedWeight decode_layer(const TensorMap& packed, const TensorQuant& quant, int64_t in);

}  // namespace arkit::mlx
