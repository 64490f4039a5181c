#pragma once
// The ways compressed-tensors stores a linear layer (its "format"), and which one a layer gets. README.md draws them.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/descriptors.h>
#include <arkit/exporter.h>
#include <arkit/model_source.h>
#include <arkit/scheme.h>
#include <arkit/sdk/hf_export.h>
#include <arkit/sdk/packed_folder.h>

namespace arkit::llm_compressor {

enum class Layout {
  pack_quantized,   // integers of 2 to 8 bits in 32-bit words, weight only
  int_quantized,    // 8-bit integers with 8-bit activations
  naive_quantized,  // 8-bit floats or integers, weight only
  float_quantized,  // 8-bit floats with 8-bit activations
  nvfp4,            // nvfp4-pack-quantized
  nvfp4_e5m3,       // nvfp4-e5m3-pack-quantized (AutoRound's own, no stock loader)
  mxfp4,            // mxfp4-pack-quantized
  mxfp8             // mxfp8-quantized
};

[[nodiscard]] std::string_view layout_name(Layout layout);
[[nodiscard]] std::optional<Layout> layout_from_name(std::string_view name);

// Whose files are written: AutoRound's have scales of integers in TensorQuant.scale_dtype, of floats in F32 or BF16,
// and integers beside 8-bit activations only as W8A8; llm-compressor's have scales in the dtype of the weight and any
// integers beside activations.
struct Dialect {
  bool llm_compressor = false;
  at::ScalarType dtype = at::ScalarType::BFloat16;  // of the model
};

// Nullopt for a scheme compressed-tensors cannot say.
[[nodiscard]] std::optional<Layout> layout_of(const LayerQuant& quant);
[[nodiscard]] Verdict supports_layer(const LayerPlan& layer, const Dialect& dialect);

// A group that is longer than the row is the row: compressed-tensors wants groups that divide it.
[[nodiscard]] LayerQuant normalised(const LayerPlan& layer);

[[nodiscard]] std::vector<sdk::PackedTensorShape> shapes_of(const LayerPlan& layer, const Dialect& dialect);
[[nodiscard]] TensorMap pack_layer(const LayerRecord& layer, const Dialect& dialect);

// The reading side: which tensors a layer may have, whether they fit its scheme, and its codes.
[[nodiscard]] std::vector<std::string_view> all_suffixes();
[[nodiscard]] LinearSpec checked_spec(const sdk::LayerTensors& tensors, Layout layout, LayerQuant quant);
[[nodiscard]] QuantizedWeight decode_layer(const LayerQuant& quant, Layout layout, int64_t out, int64_t in,
                                           const TensorMap& packed);

}  // namespace arkit::llm_compressor
