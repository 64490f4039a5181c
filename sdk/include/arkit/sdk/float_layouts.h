#pragma once
// How micro-scaled and 8-bit float weights are stored. AutoRound's own format and compressed-tensors share these
// tensors (docs/spec/packing.md 6); they differ in names and shapes of fp8 scales, which Fp8Layout says.
//
//   MXFP4       weight_packed U8 [out, in/2]   weight_scale U8 [out, in/32]       E8M0: 2^(byte - 127)
//   MXINT4      the same; sign and magnitude in quarters
//   MXFP8       weight F8_E4M3 [out, in]       weight_scale U8 [out, in/32]
//   NVFP4       weight_packed U8 [out, in/2]   weight_scale F8_E4M3 [out, in/16]  weight_global_scale F32 [1]
//                                                                                 input_global_scale F32 [1]
//   NVFP4_E5M3  weight_packed U8 [out, in/2]   weight_scale U8 [out, in/16]       unsigned E5M3
//   FP8         weight F8_E4M3 [out, in]       a scale                            input_scale (static activations)
//
//   byte k of a row of weight_packed:  | code 2k+1 | code 2k |     the even element in the low nibble
//                                        7       4   3     0

#include <optional>
#include <string_view>
#include <vector>

#include <arkit/descriptors.h>
#include <arkit/model_source.h>
#include <arkit/scheme.h>
#include <arkit/sdk/hf_export.h>
#include <arkit/sdk/packed_folder.h>

namespace arkit::sdk {

enum class FloatLayout { mxfp4, mxfp8, mxint4, nvfp4, nvfp4_e5m3, fp8 };

// Names and shapes of fp8 scales.
struct Fp8Layout {
  std::string_view block_scale = "weight_scale_inv";  // suffix for 2-D blocks; everything else is "weight_scale"
  bool flat = true;              // [out * groups] (AutoRound) or [out, groups] (compressed-tensors); per tensor: [1]
  bool f32_weight_only = false;  // weight-only scales stay F32 (compressed-tensors "naive"); all others are BF16
  // dtype of fp8 scales, to which input scales of all layouts are rounded as well (llm-compressor); unset = as above.
  std::optional<at::ScalarType> scale_dtype = std::nullopt;
};

// The layout of a weight; nullopt for integers, for elements nothing stores (MXFP6) and for other types.
[[nodiscard]] std::optional<FloatLayout> float_layout_of(const TensorQuant& weight);

// May this layer be stored in its layout? `format` is named in the reason.
[[nodiscard]] Verdict supports_float_weight(const LayerPlan& layer, std::string_view format);

[[nodiscard]] std::vector<PackedTensorShape> float_shapes(const LayerPlan& layer, const Fp8Layout& fp8);
// input_global_scale of NVFP4, f32 [1], for the calibrated maximum of the inputs: 1 where they are all zero, since
// loaders divide by it.
[[nodiscard]] at::Tensor input_global_scale(const at::Tensor& act_max);
[[nodiscard]] TensorMap pack_float(const LayerRecord& layer, const Fp8Layout& fp8);

// Every suffix a float layout may have, bias excepted.
[[nodiscard]] std::vector<std::string_view> float_suffixes();
// Checks dtype and shape of all tensors of a layer; its sizes follow from the weight. The scheme must have a layout.
[[nodiscard]] LinearSpec checked_float_spec(const LayerTensors& tensors, std::string packing, LayerQuant quant,
                                            const Fp8Layout& fp8);
// Shares no code with pack_float. A static activation's calibrated maximum comes back as act_max.
[[nodiscard]] QuantizedWeight decode_float(const LayerQuant& quant, int64_t out, int64_t in, const TensorMap& packed);

}  // namespace arkit::sdk
