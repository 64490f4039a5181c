#include "nv_fp4_scheme.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <arkit/error.h>
#include <arkit/sdk/mx_scheme.h>
#include <arkit/sdk/observer.h>
#include <arkit/str.h>

namespace arkit::nv_fp4 {
namespace {

constexpr std::array<std::string_view, 3> kDataTypes = {"nv_fp", "nv_fp4_with_static_gs", "nvfp4_v2"};
constexpr SchemeInfo kInfo = {"nv_fp4", "E2M1 values, an 8-bit float scale per 16 of them, one global scale",
                              kDataTypes};
constexpr double kGlobalTop = 2688.0;    // 448 * 6: the largest scale times the largest element
constexpr double kMostGlobal = 0x1p120;  // finite for the least weights, and so is its reciprocal
constexpr double kMostUe5m3 = 118784.0;  // what still rounds to the largest scale, kUe5m3Max

bool is_e5m3(const TensorQuant& quant) {
  return quant.data_type == "nvfp4_v2";
}

// 1 / x, 0 for 0.
at::Tensor rcp(const at::Tensor& x) {
  return x.reciprocal().masked_fill(x == 0, 0.0);
}

at::Tensor ue5m3_of(const at::Tensor& x) {
  const at::Tensor from = x.contiguous();
  at::Tensor codes = at::empty(x.sizes(), at::kByte);
  const auto* in = from.const_data_ptr<float>();
  auto* out = codes.mutable_data_ptr<uint8_t>();
  for (int64_t i = 0; i < codes.numel(); ++i) out[i] = sdk::float_to_ue5m3(in[i]);
  return codes;
}

at::Tensor ue5m3_values(const at::Tensor& codes) {
  const at::Tensor from = codes.contiguous();
  at::Tensor values = at::empty(codes.sizes(), at::kFloat);
  const auto* in = from.const_data_ptr<uint8_t>();
  auto* out = values.mutable_data_ptr<float>();
  for (int64_t i = 0; i < values.numel(); ++i) out[i] = sdk::ue5m3_to_float(in[i]);
  return values;
}

// 0 for a weight of zeros, which asks for nothing where layers share a global scale.
at::Tensor global_of(const at::Tensor& peak) {
  return (rcp(peak.to(at::kFloat).reshape({1})) * kGlobalTop).clamp_max(kMostGlobal);
}

// What is stored: loaders divide by it, so that a weight of zeros has 1, as under compressed-tensors' observers
// (docs/spec/observers.md 3).
at::Tensor stored_global(const at::Tensor& global) {
  return global.masked_fill((global == 0).logical_or(global.isfinite().logical_not()), 1.0);
}

// Scales end where weights do not: what is beyond them would be cut off.
void require_in_range(const at::Tensor& peak) {
  const double largest = peak.max().item<double>();
  if (!std::isfinite(largest) || largest / 6.0 <= kMostUe5m3) return;  // damage is told by its place
  throw_input(str("its largest weight is ", largest, ", expected at most ", 6.0 * kMostUe5m3,
                  ", 6 times the largest scale of 'nvfp4_v2'; keep it in 16 bits (--ignore_layers) or choose a scheme "
                  "with a wider range"));
}

Verdict supports_tensor(const TensorQuant& quant, int64_t in_features, std::string_view what) {
  if (quant.bits != 4)
    return Verdict::no(str(what, " bits ", quant.bits, " is not possible with '", quant.data_type, "'; it has 4"));
  if (quant.group_size != 16 && !(is_e5m3(quant) && quant.group_size == 32))
    return Verdict::no(
        str(what, " group_size ", quant.group_size, " is not possible with '", quant.data_type, "'; choose 16"));
  return sdk::supports_whole_groups(quant, in_features, what);
}

}  // namespace

const SchemeInfo& NvFp4Scheme::info() const noexcept {
  return kInfo;
}

std::span<const Preset> NvFp4Scheme::presets() const {
  static const std::vector<Preset> all = {
      sdk::microscaling_preset("NVFP4", "4-bit floats in groups of 16 with a global scale, weights and activations",
                               "nv_fp", 4, 16, "nv_fp4_with_static_gs"),
      sdk::microscaling_preset("NVFP4_E5M3", "4-bit floats in groups of 16 with unsigned E5M3 scales", "nvfp4_v2", 4,
                               16, "nvfp4_v2")};
  return all;
}

Verdict NvFp4Scheme::supports(const LayerPlan& layer) const {
  if (layer.quant.weight.quantized()) {
    if (layer.quant.weight.data_type == "nv_fp4_with_static_gs")
      return Verdict::no("'nv_fp4_with_static_gs' is a type of activations; weights take 'nv_fp'");
    if (Verdict weight = supports_tensor(layer.quant.weight, layer.in_features, "weight"); !weight) return weight;
    if (is_e5m3(layer.quant.weight)) return sdk::supports_observer(layer.quant.weight, {});
    if (Verdict observer = sdk::supports_observer(layer.quant.weight, {"minmax"}); !observer) return observer;
  }
  const TensorQuant& act = layer.quant.act;
  if (!act.quantized() || std::find(kDataTypes.begin(), kDataTypes.end(), act.data_type) == kDataTypes.end())
    return Verdict::yes();
  if (!act.dynamic)
    return Verdict::no(str("static activations are not possible with '", act.data_type,
                           "': only the global scale is calibrated, the others belong to 16 values of one token; set "
                           "act_dynamic true"));
  return supports_tensor(act, layer.in_features, "activation");
}

at::Tensor NvFp4Scheme::global_scale(const at::Tensor& weight, const TensorQuant& quant) const {
  const at::Tensor peak = at::maximum(weight.max(), -weight.min());
  if (is_e5m3(quant)) {
    require_in_range(peak);
    return {};
  }
  const at::Tensor global = global_of(peak);
  return quant.observer.empty() ? global : global.to(sdk::arithmetic_dtype(quant)).to(at::kFloat);
}

at::Tensor NvFp4Scheme::merge_global_scales(std::span<const at::Tensor> scales) const {
  at::Tensor least;
  for (const at::Tensor& scale : scales) {
    if (scale.item<float>() == 0) continue;  // a weight of zeros asks for nothing
    least = least.defined() ? at::minimum(least, scale) : scale;
  }
  return least.defined() || scales.empty() ? least : scales.front();
}

at::Tensor NvFp4Scheme::act_global_scale(const at::Tensor& x, const at::Tensor& static_max,
                                         const TensorQuant& quant) const {
  if (is_e5m3(quant)) return {};
  if (static_max.defined()) return global_of(static_max);
  const at::NoGradGuard no_grad;
  return global_of(at::maximum(x.max(), -x.min()));
}

sdk::ElementRule NvFp4Scheme::element_rule(const TensorQuant& quant) const {
  return {.grid = sdk::kE2m1, .signed_zero = !quant.observer.empty()};
}

sdk::WeightTuning NvFp4Scheme::begin_tuning(const at::Tensor& weight, const TensorQuant& quant,
                                            const TuningSetup& setup) const {
  sdk::WeightTuning tuning = ScaledScheme::begin_tuning(weight, quant, setup);
  if (tuning.global_scale.defined()) tuning.global_scale = stored_global(tuning.global_scale);
  return tuning;
}

QuantizedWeight NvFp4Scheme::quantize_rtn(const at::Tensor& weight, const TensorQuant& quant, RtnMode mode,
                                          const at::Tensor& imatrix, int64_t imatrix_count,
                                          const at::Tensor& global) const {
  if (is_e5m3(quant)) return ScaledScheme::quantize_rtn(weight, quant, mode, imatrix, imatrix_count, global);
  const at::Tensor found = global.defined() ? global : global_scale(weight, quant);
  return ScaledScheme::quantize_rtn(weight, quant, mode, imatrix, imatrix_count, stored_global(found));
}

sdk::ScaledScheme::Scales NvFp4Scheme::scales_of(const at::Tensor& peak, const at::Tensor& global_scale,
                                                 const TensorQuant& quant, at::ScalarType dtype) const {
  const at::Tensor sixth = peak * (1.0 / 6.0);
  Scales scales;
  if (is_e5m3(quant)) {
    scales.coded = ue5m3_values(ue5m3_of(sixth));
    scales.scale = scales.coded;
    scales.slope = at::full_like(peak, 1.0 / 6.0).masked_fill(sixth > sdk::kUe5m3Max, 0.0);
    return scales;
  }
  ARKIT_CHECK(global_scale.defined() && global_scale.numel() == 1, "NVFP4 needs a global scale");
  if (!quant.observer.empty()) {
    const at::Tensor exact = (global_scale * (peak / 6.0).to(dtype).to(at::kFloat)).clamp(-448, 448);
    const at::Tensor stored = exact.to(at::kFloat8_e4m3fn).to(at::kFloat);
    scales.coded = stored.masked_fill(stored == 0, 0.125);
    scales.scale = scales.coded / global_scale;
    scales.slope = at::full_like(peak, 1.0 / 6.0).masked_fill(exact >= 448, 0.0);
    return scales;
  }
  const at::Tensor wanted = global_scale * sixth, back = rcp(global_scale);
  scales.coded = wanted.clamp(-448, 448).to(at::kFloat8_e4m3fn).to(at::kFloat);
  scales.inverse = rcp(scales.coded * back);
  scales.scale = rcp(scales.inverse);
  scales.slope = (global_scale * (1.0 / 6.0) * back)
                     .expand_as(peak)
                     .masked_fill((wanted > 448).logical_or(scales.inverse == 0), 0.0);
  return scales;
}

at::Tensor NvFp4Scheme::encode_scale(const at::Tensor& coded, const TensorQuant& quant, at::ScalarType) const {
  return is_e5m3(quant) ? ue5m3_of(coded) : coded.to(at::kFloat8_e4m3fn);
}

at::Tensor NvFp4Scheme::decode_scale(const at::Tensor& stored, const at::Tensor& global_scale,
                                     const TensorQuant& quant) const {
  if (is_e5m3(quant)) {
    ARKIT_CHECK(stored.scalar_type() == at::kByte, "scales of NVFP4_E5M3 are bytes");
    return ue5m3_values(stored);
  }
  ARKIT_CHECK(stored.scalar_type() == at::kFloat8_e4m3fn && global_scale.defined() && global_scale.numel() == 1,
              "scales of NVFP4 are float8_e4m3fn beside a global scale");
  // Twice reciprocal, as fake quantization computes it.
  return rcp(rcp(stored.to(at::kFloat) * rcp(global_scale.to(at::kFloat))));
}

int NvFp4Scheme::stored_scale_bits(const TensorQuant&) const {
  return 8;
}

std::span<const float> NvFp4Scheme::multipliers(const TensorQuant& quant) const {
  static const std::vector<float> all = [] {
    std::vector<float> list = {1.0F};
    for (int percent = 50; percent <= 151; ++percent)
      if (percent != 100) list.push_back(static_cast<float>(percent / 100.0));
    return list;
  }();
  return is_e5m3(quant) ? std::span<const float>() : std::span<const float>(all);
}

}  // namespace arkit::nv_fp4
