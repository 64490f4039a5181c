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

constexpr std::array<std::string_view, 3> kSearches{"least_error", "ggml", "auto_round"};
constexpr std::string_view kGgml = "search:ggml", kAutoRound = "search:auto_round";  // kSearchRule and a name

Search search_of(const TensorQuant& quant) {
  if (quant.observer == kAutoRound) return Search::auto_round;
  return quant.observer == kGgml ? Search::ggml : Search::least_error;
}

// What lies in a file for each weight: codes, their scales and those of super-blocks.
double bits_of(BlockType type) {
  const BlockShape shape = shape_of(type);
  const int values = shape.minima ? 2 : 1, groups = shape.block / shape.group;
  switch (type) {
    case BlockType::mxfp4:
    case BlockType::nvfp4:
      return shape.bits + 8.0 / shape.group;
    case BlockType::tq1_0:
      return 54 * 8.0 / shape.block;  // five weights a byte
    default:
      return shape.bits + values * (16.0 + groups * shape.scale_bits) / shape.block;
  }
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
  if (sdk::has_auto_round_search(*type) && (quant.observer == kGgml || quant.observer == kAutoRound))
    fixed.observer = quant.observer;
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
  return bits_of(type_of(layer.quant.weight));
}

SchemeTraits GgufKScheme::traits(const LayerQuant& quant) const {
  const auto type = sdk::find_block_type(quant.weight.data_type);
  if (!type) return {};
  const bool searches = has_search(*type, search_of(quant.weight));
  SchemeTraits traits{.searches = searches,
                      .imatrix_when_tuned = searches,
                      .tuned_from_search = searches,
                      .independent_rows = type != BlockType::nvfp4};
  if (sdk::has_auto_round_search(*type)) traits.scale_searches = kSearches;
  return traits;
}

std::unique_ptr<WeightTuner> GgufKScheme::tuner(const at::Tensor& weight, const TensorQuant& quant,
                                                const TuningSetup& setup) const {
  return make_tuner(weight, type_of(quant), setup.imatrix, search_of(quant));
}

at::Tensor GgufKScheme::fake_quant_act(const at::Tensor&, const TensorQuant&, const at::Tensor&) const {
  throw_unsupported("block types of GGUF have no quantized activations");
}

QuantizedWeight GgufKScheme::quantize_rtn(const at::Tensor& weight, const TensorQuant& quant, RtnMode mode,
                                          const at::Tensor& imatrix, int64_t imatrix_count, const at::Tensor&) const {
  at::Tensor importance;
  if (mode == RtnMode::searched && imatrix.defined())
    importance = imatrix_count > 0 ? imatrix / imatrix_count : imatrix;
  return quantize(weight, type_of(quant), importance, search_of(quant));
}

at::Tensor GgufKScheme::dequantize(const QuantizedWeight& weight, const TensorQuant& quant,
                                   at::ScalarType dtype) const {
  return gguf_k::dequantize(weight, type_of(quant), dtype);
}

}  // namespace arkit::gguf_k
