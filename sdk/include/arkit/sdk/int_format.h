#pragma once
// What the exporters of integer formats have in common beside the bytes: the rules for what can be packed, the shapes
// of the packed tensors, and the reasons given for a no (docs/spec/export-folder.md 1, docs/spec/packing.md 2 and 4).

#include <string_view>
#include <vector>

#include <arkit/descriptors.h>
#include <arkit/sdk/hf_export.h>

namespace arkit::sdk {

// For formats whose loaders know packed linear layers only.
[[nodiscard]] Verdict refuses_tables(const LayerPlan& layer, std::string_view format);
// Weight-only integers with row-wise groups, nothing rotated: what both layouts can say at all. `format` is named in
// the reason.
[[nodiscard]] Verdict supports_int_weight(const LayerPlan& layer, std::string_view format);
[[nodiscard]] Verdict supports_gptq_shape(const LayerPlan& layer);
[[nodiscard]] Verdict supports_awq_shape(const LayerPlan& layer);

[[nodiscard]] std::vector<PackedTensorShape> gptq_shapes(const LayerPlan& layer, bool g_idx);
[[nodiscard]] std::vector<PackedTensorShape> awq_shapes(const LayerPlan& layer);
// Bytes of these tensors, and of an F16 bias where the layer has one.
[[nodiscard]] int64_t packed_layer_bytes(const LayerPlan& layer, const std::vector<PackedTensorShape>& shapes);

}  // namespace arkit::sdk
