#include "fp8_scheme.h"

#include <array>
#include <vector>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/sdk/observer.h>
#include <arkit/str.h>

namespace arkit::fp8 {
namespace {

constexpr std::array<std::string_view, 2> kDataTypes = {"fp", "fp8_e5m2"};
constexpr SchemeInfo kInfo = {"fp8", "8-bit floats with a scale per tensor, channel, group or 128 x 128 block",
                              kDataTypes};

bool is_known(const TensorQuant& quant) {
  return quant.data_type == "fp" || quant.data_type == "fp8_e5m2";
}

Preset preset(std::string name, std::string summary, int64_t group_size, int act_bits, int64_t act_group_size) {
  Preset p;
  p.name = std::move(name);
  p.summary = std::move(summary);
  p.quant.weight.data_type = p.quant.act.data_type = "fp";
  p.quant.weight.bits = 8;
  p.quant.weight.group_size = group_size;
  p.quant.act.bits = act_bits;
  p.quant.act.group_size = act_group_size;
  return p;
}

std::vector<Preset> make_presets() {
  Preset bf16 = preset("BF16", "nothing is quantized", 128, 16, 128);
  bf16.quant.weight.bits = 16;
  Preset fixed =
      preset("FP8_STATIC", "8-bit floats, a scale a channel; activations with one calibrated scale", -1, 8, 0);
  fixed.quant.act.dynamic = false;
  Preset blocks =
      preset("FP8_BLOCK", "8-bit floats in 128 x 128 blocks; activations per token and 128 channels", 128, 8, 128);
  blocks.quant.weight.block_rows = 128;
  return {bf16, preset("FPW8A16", "8-bit float weights, one scale a tensor", 0, 16, 0), fixed,
          preset("FP8_DYNAMIC", "8-bit floats, a scale a channel; activations per token", -1, 8, -1), blocks};
}

Verdict supports_tensor(const TensorQuant& quant, std::string_view what) {
  if (quant.bits != 8)
    return Verdict::no(str(what, " bits ", quant.bits, " is not possible with '", quant.data_type, "'; it has 8"));
  if (!quant.sym) return Verdict::no(str(what, ": 8-bit floats are symmetric; sym must stay true"));
  if (quant.group_size < -1)
    return Verdict::no(
        str(what, " group_size ", quant.group_size, " is out of range; expected a positive size, -1 or 0"));
  if (quant.super_bits != 0)
    return Verdict::no(
        str(what, " double quantization (super_bits ", quant.super_bits, ") needs an 'int_*_dq' data type"));
  if (quant.block_rows < 0 || (quant.block_rows > 0 && quant.group_size <= 0))
    return Verdict::no(
        str(what, " blocks of ", quant.block_rows, "x", quant.group_size, " are not possible; choose 128x128"));
  return Verdict::yes();
}

}  // namespace

const SchemeInfo& Fp8Scheme::info() const noexcept {
  return kInfo;
}

std::span<const Preset> Fp8Scheme::presets() const {
  static const std::vector<Preset> all = make_presets();
  return all;
}

Verdict Fp8Scheme::supports(const LayerPlan& layer) const {
  const TensorQuant &weight = layer.quant.weight, &act = layer.quant.act;
  if (weight.quantized()) {
    if (!is_known(weight)) return Verdict::no(str("weight data_type '", weight.data_type, "' is not an 8-bit float"));
    if (Verdict verdict = supports_tensor(weight, "weight"); !verdict) return verdict;
    if (Verdict observer = sdk::supports_observer(weight, {"minmax", sdk::kMse}); !observer) return observer;
    if (weight.block_rows > 0 && act.quantized() && !act.dynamic)
      return Verdict::no("weights in blocks go with dynamic activations; set act_dynamic true");
  }
  if (!act.quantized() || !is_known(act)) return Verdict::yes();
  if (Verdict verdict = supports_tensor(act, "activation"); !verdict) return verdict;
  if (act.block_rows != 0) return Verdict::no("activations have no blocks; choose an act_group_size");
  if (!act.dynamic && act.group_size != 0)
    return Verdict::no(str("static activations have one scale a tensor, act_group_size 0, not ", act.group_size));
  return Verdict::yes();
}

SchemeTraits Fp8Scheme::traits(const LayerQuant& quant) const {
  SchemeTraits traits = ScaledScheme::traits(quant);
  traits.outlier_free_loss = false;
  return traits;
}

sdk::ElementRule Fp8Scheme::element_rule(const TensorQuant& quant) const {
  return {.grid = quant.data_type == "fp8_e5m2" ? sdk::kE5m2 : sdk::kE4m3, .signed_zero = !quant.observer.empty()};
}

bool Fp8Scheme::narrow(const TensorQuant& quant) const {
  return quant.block_rows > 0 || !quant.observer.empty();
}

sdk::ScaledScheme::Scales Fp8Scheme::scales_of(const at::Tensor& peak, const at::Tensor&, const TensorQuant& quant,
                                               at::ScalarType dtype) const {
  const double top = element_rule(quant).grid.max, least = 1.0 / (top * 512.0);
  const at::Tensor wanted = peak.to(dtype) / top;
  Scales scales;
  if (!quant.observer.empty()) {
    scales.scale = scales.coded = sdk::without_zeros(wanted).to(at::kFloat);
    scales.slope = at::full_like(peak, 1.0 / top).masked_fill(peak == 0, 0.0);
    return scales;
  }
  scales.scale = scales.coded = wanted.clamp_min(least).to(at::kFloat);
  scales.slope = at::full_like(peak, 1.0 / top).masked_fill(wanted < least, 0.0);
  return scales;
}

at::Tensor Fp8Scheme::encode_scale(const at::Tensor& coded, const TensorQuant& quant, at::ScalarType dtype) const {
  return narrow(quant) ? coded.to(dtype) : coded;
}

at::Tensor Fp8Scheme::decode_scale(const at::Tensor& stored, const at::Tensor&, const TensorQuant&) const {
  ARKIT_CHECK(stored.is_floating_point(), "scales of 8-bit floats are floats");
  return stored.to(at::kFloat);
}

int Fp8Scheme::stored_scale_bits(const TensorQuant& quant) const {
  return narrow(quant) && quant.scale_dtype != "float32" ? 16 : 32;
}

}  // namespace arkit::fp8
