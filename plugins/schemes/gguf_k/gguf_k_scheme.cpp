#include "gguf_k_scheme.h"

#include <array>
#include <vector>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/str.h>

#include "block_rows.h"
#include "block_tuner.h"
#include "presets.h"

namespace arkit::gguf_k {
namespace {

BlockType type_of(const TensorQuant& quant) {
  const auto type = sdk::find_block_type(quant.data_type);
  ARKIT_CHECK(type.has_value(), str("'", quant.data_type, "' is no block type"));
  return *type;
}

// float16 scales, one or two a block, and the codes of super-blocks.
double scale_bits(const BlockShape& shape) {
  const int values = shape.minima ? 2 : 1, groups = shape.block / shape.group;
  return values * (16.0 + groups * shape.scale_bits) / shape.block;
}

}  // namespace

const SchemeInfo& GgufKScheme::info() const noexcept {
  static const SchemeInfo kInfo = {"gguf_k", "blocks of 32 and super-blocks of 256 weights, as GGUF files have them",
                                   sdk::block_type_names()};
  return kInfo;
}

std::span<const Preset> GgufKScheme::presets() const {
  static const std::vector<Preset> all = make_presets();
  return all;
}

Verdict GgufKScheme::supports(const LayerPlan& layer) const {
  const TensorQuant& quant = layer.quant.weight;
  if (layer.quant.act.quantized())
    return Verdict::no("block types of GGUF leave activations as they are; leave act_bits out");
  const auto type = sdk::find_block_type(quant.data_type);
  if (!type) return Verdict::no(str("weight data_type '", quant.data_type, "' is no block type of GGUF"));
  TensorQuant fixed = sdk::quant_of(*type);
  fixed.scale_dtype = quant.scale_dtype;  // has no say: scales are float16
  if (quant != fixed)
    return Verdict::no(str("bits, groups and scales of '", quant.data_type, "' are fixed (", fixed.bits,
                           " bits in groups of ", fixed.group_size,
                           "); leave them out or choose another preset GGUF:..."));
  if (const int block = shape_of(*type).block; layer.in_features % block != 0)
    return Verdict::no(str("in_features ", layer.in_features, " is not a multiple of ", block, ", the block of '",
                           quant.data_type, "'"));
  return Verdict::yes();
}

double GgufKScheme::bits_per_weight(const LayerPlan& layer) const {
  if (!layer.quant.weight.quantized()) return 16;
  const BlockShape shape = shape_of(type_of(layer.quant.weight));
  return shape.bits + scale_bits(shape);
}

SchemeTraits GgufKScheme::traits(const LayerQuant& quant) const {
  // 8 bits are rounded to the largest magnitude whatever the importance of a column.
  const bool searches = quant.weight.data_type != sdk::name_of(BlockType::q8_0);
  return {.searches = searches, .imatrix_when_tuned = searches, .tuned_from_search = searches};
}

std::unique_ptr<WeightTuner> GgufKScheme::tuner(const at::Tensor& weight, const TensorQuant& quant,
                                                const TuningSetup& setup) const {
  return make_tuner(weight, type_of(quant), setup.imatrix);
}

at::Tensor GgufKScheme::fake_quant_act(const at::Tensor&, const TensorQuant&, const at::Tensor&) const {
  throw_unsupported("block types of GGUF have no quantized activations");
}

QuantizedWeight GgufKScheme::quantize_rtn(const at::Tensor& weight, const TensorQuant& quant, RtnMode mode,
                                          const at::Tensor& imatrix, int64_t imatrix_count, const at::Tensor&) const {
  at::Tensor importance;
  if (mode == RtnMode::searched && imatrix.defined())
    importance = imatrix_count > 0 ? imatrix / imatrix_count : imatrix;
  return quantize(weight, type_of(quant), importance);
}

at::Tensor GgufKScheme::dequantize(const QuantizedWeight& weight, const TensorQuant& quant,
                                   at::ScalarType dtype) const {
  return gguf_k::dequantize(weight, type_of(quant), dtype);
}

}  // namespace arkit::gguf_k
